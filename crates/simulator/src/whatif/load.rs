//! Clients that post, and when they see their posts in a block.

use std::collections::BTreeMap;

use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::member::MemberKey;
use quorate_ledger::block::Block;
use quorate_ledger::ids::{GroupId, TrxId};
use quorate_ledger::proto::Trx;
use quorate_ledger::trx::{self, TrxType};
use quorate_replica::api::CommandError;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::engine::{BEGIN_MS, Engine, Event, Job, Threads};

/// Members that sign posts, as in the load benchmark.
const SIGNERS: usize = 64;
/// How long a client waits before it posts again where the pool was full, as in the load benchmark.
const BACK_OFF_US: u64 = 50_000;
/// How often a client on the nodes' own machine looks at the head, as in the load benchmark.
pub(super) const WATCH_US: u64 = 10_000;

/// How much is posted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Demand {
    /// So many posts are under way at any time: whoever sees its post in a block makes the next.
    UnderWay(usize),
    /// So many posts a second, evenly, whatever becomes of them.
    Rate(u64),
}

struct Posted {
    at: u64,
    home: usize,
}

/// The clients of all nodes.
pub(super) struct Load {
    demand: Demand,
    group: GroupId,
    cipher: SymmetricKey,
    signers: Vec<MemberKey>,
    payload: usize,
    rng: ChaCha20Rng,
    made: u64,
    posted: BTreeMap<TrxId, Posted>,
    /// Latencies since they were last taken, microseconds.
    pub latencies: Vec<u64>,
    /// Posts refused because a pool was full.
    pub refused: u64,
}

impl Load {
    pub fn new(
        demand: Demand,
        group: GroupId,
        cipher: SymmetricKey,
        payload: usize,
        seed: u64,
    ) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 0x6c6f_6164);
        Self {
            demand,
            group,
            cipher,
            signers: (0..SIGNERS).map(|_| MemberKey::generate(&mut rng)).collect(),
            payload,
            rng,
            made: 0,
            posted: BTreeMap::new(),
            latencies: Vec::new(),
            refused: 0,
        }
    }

    /// Makes and signs the next post.
    pub fn make(&mut self, now: u64) -> Trx {
        let key = &self.signers[self.made as usize % SIGNERS];
        self.made += 1;
        let payload = vec![b'x'; self.payload];
        let data = trx::encrypt_payload(&self.cipher, &mut self.rng, &payload);
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        let id = TrxId(uuid::Builder::from_random_bytes(id).into_uuid());
        let time = (BEGIN_MS * 1_000_000 + now * 1_000) as i64;
        trx::build(key, self.group, TrxType::Post, data, id, time, 0)
    }
}

impl Engine {
    /// Clients begin to post.
    pub fn begin_load(&mut self) {
        match self.load.demand {
            Demand::UnderWay(count) => (0..count).for_each(|_| self.post()),
            Demand::Rate(_) => self.at(self.now, Event::Post),
        }
        if self.conditions.one_machine {
            self.at(self.now, Event::Look);
        }
    }

    /// The next post of a steady rate.
    pub fn next_post(&mut self) {
        if let Demand::Rate(rate) = self.load.demand {
            self.post();
            self.at(self.now + 1_000_000 / rate.max(1), Event::Post);
        }
    }

    /// A new post, to the next node in turn that runs.
    fn post(&mut self) {
        let post = Box::new(self.load.make(self.now));
        self.again(post);
    }

    /// A post goes to the next node in turn that runs.
    pub fn again(&mut self, post: Box<Trx>) {
        let count = self.nodes.len();
        let first = self.load.made as usize % count;
        let up = (first..first + count).map(|node| node % count).find(|node| self.is_up(*node));
        let Some(node) = up else { return };
        let id = post.id().expect("it was made here");
        let (at, home) = (self.now, node);
        self.load.posted.entry(id).or_insert(Posted { at, home }).home = home;
        self.offer(node, post);
    }

    /// Offers a post to a node. A client on the nodes' own machine takes time for it, too.
    pub fn offer(&mut self, node: usize, post: Box<Trx>) {
        if self.conditions.one_machine {
            self.push_client(Job::Client { node, post });
        } else {
            self.arrive_at_api(node, post);
        }
    }

    pub fn arrive_at_api(&mut self, node: usize, post: Box<Trx>) {
        if !self.is_up(node) {
            return self.again(post);
        }
        let life = self.nodes[node].life;
        self.push(node, Threads::Api, Job::Api { node, life, post });
    }

    /// A node would not take a post: it is offered again a little later.
    ///
    /// # Panics
    /// If it was refused for another reason than a full pool: the posts are good.
    pub fn refused(&mut self, node: usize, post: Box<Trx>, error: &CommandError) {
        let known = self.blocks.len();
        assert!(
            matches!(error, CommandError::PoolFull { .. } | CommandError::NotReady),
            "a good post was refused after {known} blocks: {error}"
        );
        self.load.refused += 1;
        self.at(self.now + BACK_OFF_US, Event::Again { node, post });
    }

    /// A block is final at a node: its clients see it. Clients on the nodes' own machine all watch
    /// the first node.
    pub fn committed(&mut self, at: usize, block: &Block) {
        let one_machine = self.conditions.one_machine;
        if one_machine && at != 0 {
            return;
        }
        let mine = |id: &TrxId| {
            let posted = self.load.posted.get(id);
            posted.is_some_and(|posted| one_machine || posted.home == at)
        };
        let ids = block.trxs.iter().filter_map(|trx| trx.id()).filter(mine).collect();
        let moment = if one_machine { self.now.next_multiple_of(WATCH_US) } else { self.now };
        self.at(moment, Event::Seen { ids });
    }

    /// Clients see their posts in a block.
    pub fn seen(&mut self, ids: &[TrxId]) {
        for id in ids {
            let Some(posted) = self.load.posted.remove(id) else { continue };
            self.load.latencies.push(self.now - posted.at);
            if let Demand::UnderWay(_) = self.load.demand {
                self.post();
            }
        }
    }
}
