//! A deterministic network of members, each with its log in memory.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use quorate_consensus::core::{Durable, Env, Time};
use quorate_consensus::raft::{LogRecord, NodeId, Phase, RaftMessage, Role, Seqno};
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::hash::{Digest, Hasher, sha256};
use quorate_crypto::recipient::EncryptKey;
use quorate_ledger::ccf::maps::NodeId as LedgerNodeId;
use quorate_ledger::ccf::signature::{Identities, NotaryError, ServiceSecrets, Signed};
use quorate_ledger::ccf::{Head, LedgerSecret, Notary, TxId, snapshot};
use quorate_ledger::ids::GroupId;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::cft::api::{
    Address, Begin, Command, Config, Error, Input, MemberChange, Notice, Op, Output, PeerRef,
    Reply, Ticket, TxStatus, Wait,
};
use crate::cft::driver::OpenError;
use crate::cft::keys::Keys;
use crate::cft::log::{Log, Recovered, SnapshotFile};
use crate::cft::wire::Packet;
use crate::cft::{CftDriver, Chores};

/// Keys that are hashes: deterministic.
#[derive(Clone, Debug)]
pub struct HashKeys {
    public_key: Vec<u8>,
    service_key: Vec<u8>,
    certificate: String,
    service_certificate: String,
}

impl HashKeys {
    pub fn new(name: &str) -> Self {
        let public_key = format!("public key of {name}").into_bytes();
        let (service_key, none) = (Vec::new(), String::new());
        Self { public_key, service_key, certificate: none.clone(), service_certificate: none }
    }

    /// The keys of a node that founds a service.
    pub fn founder(name: &str, service_key: &[u8]) -> Self {
        let mut keys = Self::new(name);
        let service_certificate = format!("service {}", sha256(service_key));
        let node_certificate = format!("node {} by {service_certificate}", keys.node());
        let service_key = service_key.to_vec();
        keys.enter(&ServiceSecrets { service_key, service_certificate, node_certificate })
            .expect("they belong together");
        keys
    }
}

fn tag(what: &str, certificate: &str, root: &Digest, id: TxId) -> Vec<u8> {
    let hash = Hasher::new(what).field(certificate.as_bytes()).field(&root.0);
    hash.u64(id.view).u64(id.seqno).finish().0.to_vec()
}

impl Notary for HashKeys {
    fn node(&self) -> LedgerNodeId {
        sha256(&self.public_key)
    }

    fn public_key(&self) -> Vec<u8> {
        self.public_key.clone()
    }

    fn certificate(&self) -> &str {
        &self.certificate
    }

    fn service_certificate(&self) -> &str {
        &self.service_certificate
    }

    fn sign(&self, root: &Digest, id: TxId, _at_ms: u64) -> Signed {
        assert!(!self.certificate.is_empty(), "part of a service");
        Signed {
            node: tag("node", &self.certificate, root, id),
            service: tag("service", &self.service_certificate, root, id),
        }
    }

    fn verify(&self, root: &Digest, id: TxId, signed: &Signed, by: Identities<'_>) -> bool {
        signed.node == tag("node", by.node, root, id)
            && signed.service == tag("service", by.service, root, id)
    }

    fn is_endorsed(&self, node: &LedgerNodeId, certificate: &str, service: &str) -> bool {
        certificate == format!("node {node} by {service}")
    }

    fn endorse(&self, public_key: &[u8], _: &str, _: u64) -> Result<String, NotaryError> {
        self.service_key()?;
        Ok(format!("node {} by {}", sha256(public_key), self.service_certificate))
    }

    fn service_key(&self) -> Result<Vec<u8>, NotaryError> {
        if self.service_key.is_empty() {
            return Err(NotaryError::NoService);
        }
        Ok(self.service_key.clone())
    }

    fn enter(&mut self, secrets: &ServiceSecrets) -> Result<(), NotaryError> {
        let service = format!("service {}", sha256(&secrets.service_key));
        let node = format!("node {} by {service}", self.node());
        if (&service, &node) != (&secrets.service_certificate, &secrets.node_certificate) {
            return Err(NotaryError::Identity("they do not belong together".into()));
        }
        self.service_key.clone_from(&secrets.service_key);
        (self.service_certificate, self.certificate) = (service, node);
        Ok(())
    }
}

impl Keys for HashKeys {
    fn prove(&self, statement: &Digest) -> Vec<u8> {
        Hasher::new("proof").field(&self.public_key).field(&statement.0).finish().0.to_vec()
    }

    fn check(&self, public_key: &[u8], statement: &Digest, proof: &[u8]) -> bool {
        Hasher::new("proof").field(public_key).field(&statement.0).finish().0 == proof
    }

    fn check_snapshot<'a>(&self, file: &'a [u8], _: &str) -> Result<&'a [u8], String> {
        snapshot::split(file).map(|(snapshot, _)| snapshot).map_err(|e| e.to_string())
    }
}

/// The error of a log with damage.
const ROTTEN: &str = "damaged";

/// A log in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    pub base: Seqno,
    pub entries: Vec<Arc<[u8]>>,
    pub view: u64,
    pub voted_for: Option<NodeId>,
    pub commit_idx: Seqno,
    pub begins_with: Option<SnapshotFile>,
    pub snapshots: Vec<SnapshotFile>,
    pub full: Rc<Cell<bool>>,
    /// Entries up to here have rotted: reading them fails.
    pub rotten: Rc<Cell<Seqno>>,
    pub syncs: u64,
    /// Something was appended and nothing tidied since.
    pub untidy: Cell<bool>,
}

impl MemoryLog {
    fn last(&self) -> Seqno {
        self.base + self.entries.len() as u64
    }

    fn recovered(&self) -> Recovered {
        // A log is tidied when it is opened.
        self.untidy.set(false);
        Recovered {
            view: self.view,
            voted_for: self.voted_for,
            commit_idx: self.commit_idx.max(self.base),
            snapshot: self.begins_with.clone(),
            last_idx: self.last(),
        }
    }
}

impl Durable<LogRecord> for MemoryLog {
    type Error = &'static str;

    fn append(&mut self, records: &[LogRecord]) -> Result<(), Self::Error> {
        if self.full.get() {
            return Err("no space left");
        }
        assert!(!self.untidy.replace(true), "the last append comes to its end first");
        self.syncs += 1;
        for record in records {
            match record {
                LogRecord::Vote { view, voted_for } => {
                    assert!(*view >= self.view, "views never go back");
                    (self.view, self.voted_for) = (*view, *voted_for);
                }
                LogRecord::Append(entry) => {
                    assert_eq!(entry.seqno, self.last() + 1, "the log has no gaps");
                    self.entries.push(entry.bytes.clone());
                }
                LogRecord::Truncate { after } => {
                    assert!(*after >= self.commit_idx.max(self.base), "nothing committed is cut");
                    let kept = usize::try_from(after - self.base).expect("small");
                    self.entries.truncate(kept);
                }
                LogRecord::Commit(seqno) => self.commit_idx = *seqno,
            }
        }
        Ok(())
    }
}

impl Log for MemoryLog {
    fn entries(
        &self,
        from: Seqno,
        to: Seqno,
        max_bytes: usize,
    ) -> Result<Vec<Arc<[u8]>>, Self::Error> {
        if from <= self.rotten.get() {
            return Err(ROTTEN);
        }
        let mut room = max_bytes;
        let mut found = Vec::new();
        for seqno in from.max(1)..=to {
            let at = seqno.checked_sub(self.base + 1).and_then(|at| usize::try_from(at).ok());
            let Some(bytes) = at.and_then(|at| self.entries.get(at)) else { break };
            if !found.is_empty() && bytes.len() > room {
                break;
            }
            room = room.saturating_sub(bytes.len());
            found.push(bytes.clone());
        }
        Ok(found)
    }

    fn is_damage(error: &Self::Error) -> bool {
        *error == ROTTEN
    }

    fn commit(&mut self, seqno: Seqno) -> Result<(), Self::Error> {
        assert!(seqno >= self.commit_idx);
        self.commit_idx = seqno;
        Ok(())
    }

    fn settle(&mut self) -> bool {
        self.untidy.set(false);
        true
    }

    fn settles_slowly(&self) -> bool {
        false
    }

    fn store_snapshot(&mut self, snapshot: &SnapshotFile) -> Result<(), Self::Error> {
        self.snapshots.push(snapshot.clone());
        Ok(())
    }

    fn snapshot(&self) -> Result<Option<SnapshotFile>, Self::Error> {
        Ok(self.snapshots.last().or(self.begins_with.as_ref()).cloned())
    }

    fn install(&mut self, snapshot: &SnapshotFile) -> Result<(), Self::Error> {
        assert!(snapshot.seqno >= self.commit_idx.max(self.base), "nothing committed is dropped");
        if self.full.get() {
            return Err("no space left");
        }
        self.entries.clear();
        self.base = snapshot.seqno;
        self.commit_idx = snapshot.seqno;
        self.begins_with = Some(snapshot.clone());
        Ok(())
    }
}

pub type TestDriver = CftDriver<HashKeys, MemoryLog>;

pub struct Host {
    pub driver: Option<TestDriver>,
    pub keys: HashKeys,
    pub secret: Option<LedgerSecret>,
    pub log: MemoryLog,
    pub inputs: Vec<Input>,
    pub wake: Option<Time>,
    pub retired: bool,
    pub stopped: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Done {
    pub result: Result<Reply, Error>,
}

/// From, to, packet.
type Flight = (String, String, Arc<[u8]>);
/// Name, last, committed, state, root, last entries.
type Seen = (String, TxId, TxId, Digest, Digest, Vec<Arc<[u8]>>);

pub struct World {
    pub env: Env,
    pub hosts: BTreeMap<String, Host>,
    queue: BTreeMap<(u64, u64), Flight>,
    next: u64,
    pub cut: BTreeSet<(String, String)>,
    /// What it is given waits for it; all of that is one turn then.
    pub paused: Option<String>,
    /// Of a thousand packets.
    pub loss: u32,
    /// Longest delay in ms; the shortest is 1.
    pub delay: u64,
    pub replies: BTreeMap<Ticket, Done>,
    next_ticket: u64,
    /// Every transaction that was ever answered as final, and how.
    pub finals: BTreeMap<TxId, TxStatus>,
    pub settings: fn(&mut Config),
    pub packets: u64,
}

pub const GROUP: [u8; 16] = [9; 16];

pub fn peer(name: &str) -> PeerRef {
    PeerRef(name.as_bytes().into())
}

pub fn secret() -> LedgerSecret {
    LedgerSecret::new(SymmetricKey([5; 32]))
}

pub fn put(key: &str, value: &str) -> Op {
    Op::Put { map: "records".into(), key: key.into(), value: value.as_bytes().into() }
}

pub fn committed(timeout_ms: u64) -> Wait {
    Wait::Committed { timeout_ms }
}

pub fn write(ops: Vec<Op>, wait: Wait) -> Command {
    Command::Write { ops, idempotency: None, wait, session: None }
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            env: Env { now: Time(1_000_000), rng: ChaCha20Rng::seed_from_u64(seed) },
            hosts: BTreeMap::new(),
            queue: BTreeMap::new(),
            next: 0,
            cut: BTreeSet::new(),
            paused: None,
            loss: 0,
            delay: 1,
            replies: BTreeMap::new(),
            next_ticket: 0,
            finals: BTreeMap::new(),
            settings: |_| {},
            packets: 0,
        }
    }

    /// A service of one node, "a".
    pub fn lone(seed: u64, settings: fn(&mut Config)) -> Self {
        let mut world = Self::new(seed);
        world.settings = settings;
        let keys = HashKeys::founder("a", b"service key");
        let begin =
            Begin::Create { genesis: [(b"seed".to_vec(), vec![1])].into(), secret: secret() };
        world.open("a", keys, MemoryLog::default(), begin);
        world.run(20);
        world
    }

    /// A service of three nodes, "a", "b", "c"; "a" leads.
    pub fn three(seed: u64, settings: fn(&mut Config)) -> Self {
        let mut world = Self::lone(seed, settings);
        for name in ["b", "c"] {
            world.join(name, false);
            world.add(name);
        }
        world
    }

    pub fn config(&self, name: &str) -> Config {
        let group = GroupId::from_random(GROUP);
        let mut config = Config::new(group, peer(name), format!("{name}:80"));
        config.election_timeout_ms = 1_000;
        config.message_timeout_ms = 50;
        (self.settings)(&mut config);
        config
    }

    pub fn open(&mut self, name: &str, keys: HashKeys, log: MemoryLog, begin: Begin) {
        let secret = match &begin {
            Begin::Create { secret, .. }
            | Begin::Resume { secret }
            | Begin::Recover { secret, .. } => Some(secret.clone()),
            Begin::Join { .. } => None,
        };
        let config = self.config(name);
        let recovered = log.recovered();
        let opened = CftDriver::open(&mut self.env, config, begin, keys.clone(), recovered, log);
        let (driver, turn) = opened.expect("it opens");
        let host = Host {
            driver: Some(driver),
            keys,
            secret,
            log: MemoryLog::default(),
            inputs: Vec::new(),
            wake: turn.wake,
            retired: false,
            stopped: None,
        };
        self.hosts.insert(name.to_owned(), host);
        self.dispatch(name, turn.ahead);
        self.dispatch(name, turn.outputs);
    }

    /// Whether a node can be opened with this log; nobody hears of it.
    pub fn try_open(
        &mut self,
        name: &str,
        keys: HashKeys,
        log: MemoryLog,
        begin: Begin,
    ) -> Result<(), OpenError> {
        let (config, recovered) = (self.config(name), log.recovered());
        CftDriver::open(&mut self.env, config, begin, keys, recovered, log).map(|_| ())
    }

    /// A new node asks to join.
    pub fn join(&mut self, name: &str, from_snapshot: bool) {
        let encrypt = EncryptKey::generate(&mut self.env.rng);
        let begin = Begin::Join { encrypt, from_snapshot };
        self.open(name, HashKeys::new(name), MemoryLog::default(), begin);
    }

    /// The operator adds a node, and waits until it is a member everywhere.
    pub fn add(&mut self, name: &str) {
        let node = self.id(name);
        self.run(1_000);
        let leader = self.leader().expect("a leader");
        let ticket = self.command(&leader, Command::Member(MemberChange::Add(node)));
        self.run(100);
        self.replies[&ticket].result.as_ref().expect("it is added");
        for _ in 0..100 {
            self.run(100);
            let configurations =
                self.member(name).map(|m| m.raft_state().configurations().to_vec());
            if configurations.is_some_and(|c| c.len() == 1 && c[0].nodes.contains(&node)) {
                return;
            }
        }
        panic!("{name} has not become a member");
    }

    pub fn id(&self, name: &str) -> NodeId {
        NodeId(sha256(&HashKeys::new(name).public_key).0)
    }

    pub fn driver(&self, name: &str) -> &TestDriver {
        self.hosts[name].driver.as_ref().expect("it runs")
    }

    pub fn member(&self, name: &str) -> Option<&crate::cft::member::Member<HashKeys>> {
        self.hosts.get(name)?.driver.as_ref()?.member()
    }

    pub fn running(&self) -> Vec<String> {
        let running = self.hosts.iter().filter(|(_, host)| host.driver.is_some());
        running.map(|(name, _)| name.clone()).collect()
    }

    /// The leader of the highest view.
    pub fn leader(&self) -> Option<String> {
        let running = self.running().into_iter();
        let leaders = running.filter(|name| self.member(name).is_some_and(|m| m.leads()));
        leaders.max_by_key(|name| self.member(name).map(|m| m.raft_state().view()))
    }

    pub fn command(&mut self, name: &str, command: Command) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        let host = self.hosts.get_mut(name).expect("a host");
        assert!(host.driver.is_some(), "it runs");
        host.inputs.push(Input::Command(ticket, command));
        ticket
    }

    /// A write, answered when it is committed.
    pub fn put(&mut self, name: &str, key: &str, value: &str) -> TxId {
        let ticket = self.command(name, write(vec![put(key, value)], committed(5_000)));
        self.run_until(10_000, |world| world.replies.contains_key(&ticket));
        match &self.replies[&ticket].result {
            Ok(Reply::Written { tx, status: TxStatus::Committed, .. }) => *tx,
            other => panic!("{key}: {other:?}"),
        }
    }

    /// The node dies: what it has not said is lost; its log stays.
    pub fn kill(&mut self, name: &str) {
        let host = self.hosts.get_mut(name).expect("a host");
        host.log = host.driver.take().expect("it runs").into_log();
        host.inputs.clear();
        host.wake = None;
    }

    /// It comes back as it was.
    pub fn resume(&mut self, name: &str) {
        let host = self.hosts.remove(name).expect("a host");
        let secret = host.secret.expect("it is part of the service");
        self.open(name, host.keys, host.log, Begin::Resume { secret });
    }

    pub fn isolate(&mut self, name: &str) {
        for other in self.hosts.keys().filter(|other| *other != name) {
            self.cut.insert((name.to_owned(), other.clone()));
            self.cut.insert((other.clone(), name.to_owned()));
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    pub fn run_until(&mut self, ms: u64, done: impl Fn(&Self) -> bool) {
        let end = self.env.now.0 + ms;
        while !done(self) {
            assert!(self.env.now.0 < end, "nothing has happened for {ms} ms");
            self.run(1);
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.env.now.0 + ms;
        loop {
            self.take_turns();
            let now = self.env.now.0;
            let awake = self.hosts.iter().filter(|(name, _)| self.paused.as_ref() != Some(name));
            let wakes = awake.filter_map(|(_, host)| host.wake).map(|wake| wake.0);
            let arrivals = self.queue.first_key_value().map(|((at, _), _)| *at);
            let next = wakes.chain(arrivals).filter(|at| *at > now).min().unwrap_or(end);
            if next > end {
                self.env.now = Time(end);
                return;
            }
            self.env.now = Time(next);
            if next == end {
                self.take_turns();
                return;
            }
        }
    }

    fn take_turns(&mut self) {
        let now = self.env.now.0;
        let later = self.queue.split_off(&(now + 1, 0));
        for (_, (from, to, packet)) in std::mem::replace(&mut self.queue, later) {
            let alive = self.hosts.get(&from).is_some_and(|host| host.driver.is_some());
            if !alive || self.cut.contains(&(from.clone(), to.clone())) {
                continue;
            }
            let Some(host) = self.hosts.get_mut(&to) else { continue };
            let (_, packet) = Packet::decode(&packet).expect("what members send decodes");
            host.inputs.push(Input::Packet(peer(&from), packet));
        }
        for name in self.hosts.keys().cloned().collect::<Vec<_>>() {
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            let due = host.wake.is_some_and(|wake| wake.0 <= now);
            let paused = self.paused.as_ref() == Some(&name);
            if host.driver.is_none() || paused || (host.inputs.is_empty() && !due) {
                continue;
            }
            let mut inputs = std::mem::take(&mut host.inputs);
            inputs.push(Input::Wake);
            let turn = host.driver.as_mut().expect("it runs").turn(&mut self.env, inputs, None);
            host.wake = turn.wake;
            self.dispatch(&name, turn.ahead);
            self.dispatch(&name, turn.outputs);
            let host = self.hosts.get_mut(&name).expect("a host");
            let driver = host.driver.as_mut().expect("it runs");
            // A host may put it off until the next turn that writes.
            if driver.chores() == Chores::Many || !driver.stats().turns.is_multiple_of(2) {
                assert_eq!(driver.settle(self.env.now), None, "this disk never fails");
                assert_eq!(driver.chores(), Chores::None);
            }
        }
    }

    fn dispatch(&mut self, name: &str, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { to: Address::Peer(to), packet } => {
                    let to = String::from_utf8(to.0.to_vec()).expect("a name");
                    self.post(name, to, packet);
                }
                Output::Send { to: Address::Somebody, packet } => {
                    let others = self.running().into_iter().filter(|other| other != name);
                    let others: Vec<_> = others.filter(|o| self.member(o).is_some()).collect();
                    if !others.is_empty() {
                        let at = self.env.rng.next_u64() % others.len() as u64;
                        let to = others[usize::try_from(at).expect("few")].clone();
                        self.post(name, to, packet);
                    }
                }
                Output::Send { to, .. } => panic!("nobody is called {to:?}"),
                Output::Reply(ticket, result) => {
                    self.note_final(&result);
                    let done = Done { result };
                    assert!(self.replies.insert(ticket, done).is_none(), "answered twice");
                }
                Output::Notice(Notice::Admitted(admission)) => {
                    let host = self.hosts.get_mut(name).expect("a host");
                    host.secret = Some(admission.secret.clone());
                    host.keys.enter(&admission.service).expect("they belong together");
                }
                Output::Notice(Notice::Retired) => {
                    self.hosts.get_mut(name).expect("a host").retired = true;
                }
                Output::Notice(Notice::Stopped(reason)) => {
                    self.hosts.get_mut(name).expect("a host").stopped = Some(reason);
                }
                Output::Notice(_) => {}
            }
        }
    }

    /// Committed and Invalid are final everywhere.
    fn note_final(&mut self, result: &Result<Reply, Error>) {
        let (Ok(Reply::Written { tx, status, .. }) | Ok(Reply::Status { tx, status })) = result
        else {
            return;
        };
        if matches!(status, TxStatus::Committed | TxStatus::Invalid) {
            let before = self.finals.insert(*tx, *status);
            assert!(before.is_none_or(|before| before == *status), "{tx} was {before:?}");
        }
    }

    fn post(&mut self, from: &str, to: String, packet: Arc<[u8]>) {
        self.packets += 1;
        assert_entries_are_theirs(&packet);
        if self.env.rng.next_u64() % 1_000 < u64::from(self.loss) {
            return;
        }
        self.next += 1;
        let at = self.env.now.0 + 1 + self.env.rng.next_u64() % self.delay;
        self.queue.insert((at, self.next), (from.to_owned(), to, packet));
    }

    /// All members (but those named) have the same ledger, state and tree, and nothing is open.
    pub fn assert_alike(&self, except: &[&str]) {
        let mut first: Option<Seen> = None;
        for name in self.running() {
            if except.contains(&name.as_str()) {
                continue;
            }
            let member = self.member(&name).unwrap_or_else(|| panic!("{name} is a member"));
            assert_eq!(member.stopped(), None, "{name} goes on");
            let state = member.store().committed().digest();
            let root = member.chain().tree().root();
            let (last, commit) = (member.last_tx(), member.committed_tx());
            let log = self.driver(&name).log();
            let skip = log.entries.len().saturating_sub(50);
            let entries = log.entries[skip..].to_vec();
            let Some(other) = &first else {
                first = Some((name, last, commit, state, root, entries));
                continue;
            };
            assert_eq!((other.1, other.2), (last, commit), "{} and {name}", other.0);
            assert_eq!((other.3, other.4), (state, root), "{} and {name}", other.0);
            let common = other.5.len().min(entries.len());
            let tail = |list: &[Arc<[u8]>]| list[list.len() - common..].to_vec();
            assert_eq!(tail(&other.5), tail(&entries), "{} and {name}", other.0);
        }
        assert!(first.is_some(), "somebody runs");
    }

    pub fn role(&self, name: &str) -> Option<Role> {
        self.member(name)?.raft_state().role()
    }

    pub fn phase(&self, name: &str) -> Option<Phase> {
        self.member(name)?.raft_state().phase()
    }

    pub fn value(&self, name: &str, key: &str) -> Option<String> {
        let value = self.member(name)?.store().committed().get("records", key.as_bytes())?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

/// Entries that are sent are of the view and the place that the message says.
fn assert_entries_are_theirs(packet: &[u8]) {
    let (_, packet) = Packet::decode(packet).expect("what members send decodes");
    let Packet::Raft { messages, .. } = packet else { return };
    for message in messages {
        let RaftMessage::AppendEntries(append) = message else { continue };
        for (seqno, entry) in (append.prev_idx + 1..).zip(append.entries) {
            let id = Head::read(&entry.bytes).expect("an entry").id;
            let said = (append.term_of_idx, seqno);
            assert_eq!([(id.view, id.seqno), (entry.view, entry.seqno)], [said; 2], "what is sent");
        }
    }
}
