//! Sessions of clients. A client asks one thing at a time, at whatever machine it likes; if nothing
//! comes back it asks again elsewhere, where it may.

use std::sync::Arc;

use quorate_ledger::state::Value;
use quorate_replica::cft::api::{
    Answer, Code, Command, Consistency, Error, Op, Query, Reply, TxId, Wait,
};
use rand::RngExt;

use super::{Asker, CftHappening, CftWorld, Place, raft_of};
use crate::signed::history::{Next, Wish};
use crate::world::{Happening, MS};

/// How long a client waits for an answer.
const PATIENCE_MS: u64 = 3_000;
/// How often a client asks the same thing, while the faults strike.
const TRIES: u32 = 12;
/// Keys that clients write to.
const KEYS: u8 = 5;
/// Maps that clients write to: one is encrypted in the ledger.
const MAPS: [&str; 2] = ["public:table", "table"];

/// A client.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// The operation it is at, and how often it has asked.
    at: Option<(usize, u32)>,
    /// The answer it waits for.
    waits: Option<u64>,
    /// The last transaction that it has seen, if it minds.
    session: Option<TxId>,
    /// Whether it minds.
    minds: bool,
    /// Its operation must be done: it asks for ever.
    pub(super) insists: bool,
    /// What it insisted on has been done.
    pub(super) content: bool,
}

impl CftWorld {
    /// Clients begin to ask.
    pub(super) fn clients_begin(&mut self) {
        for client in 0..self.play.clients.len() {
            self.play.clients[client].minds = self.clients.random_bool(0.5);
            self.client_soon(client, 0);
        }
    }

    pub(super) fn client_soon(&mut self, client: usize, least_ms: u64) {
        let gap = self.plan.faulty_ms * self.play.clients.len() as u64;
        let gap = (gap / (self.plan.posts.max(1) as u64)).clamp(2, 2_000);
        let later = self.now + (least_ms + self.clients.random_range(0..gap)) * MS;
        self.at(later, Happening::Play(CftHappening::Client { client }));
    }

    /// A client begins something, or asks again.
    pub(super) fn client_acts(&mut self, client: usize) {
        if self.play.clients[client].waits.is_some() {
            return;
        }
        // While the faults strike a client knows no better; later it asks members.
        let members = self.play.checker.newest();
        let serves = |node: &usize| {
            self.is_up(*node)
                && (self.faulty || members.contains_key(&self.play.checker.member(*node).id))
        };
        let live: Vec<usize> = (0..self.nodes.len()).filter(serves).collect();
        if live.is_empty() {
            return self.client_soon(client, 100);
        }
        let node = live[self.clients.random_range(0..live.len())];
        let (number, tries) = match self.play.clients[client].at {
            Some(at) => at,
            None => {
                let all_begun = self.play.begun >= self.plan.posts;
                if all_begun && !self.play.clients[client].insists {
                    return;
                }
                self.play.begun += 1;
                let wish = self.wish(client, node);
                let session = self.play.clients[client].session;
                (self.play.history.begin(wish, session, self.now), 0)
            }
        };
        self.play.clients[client].at = Some((number, tries + 1));
        let (command, attempt) = self.play.history.attempt(number);
        let ticket = self.ask(node, Asker::Client(client, (number, attempt)), command);
        self.play.clients[client].waits = Some(ticket);
        let patience = self.clients.random_range(PATIENCE_MS / 10..PATIENCE_MS);
        self.in_ms(patience, Happening::Play(CftHappening::Patience { ticket }));
        if self.clients.random_bool(0.3) {
            self.look_around(node);
        }
    }

    fn value(&mut self) -> Value {
        let number = (self.play.former_begun + self.play.begun) as u64;
        let mut value = number.to_be_bytes().to_vec();
        let more = self.clients.random_range(0..60);
        value.resize(8 + more, 0);
        Arc::from(value)
    }

    fn place_of_key(&mut self) -> (Arc<str>, Vec<u8>) {
        let map = MAPS[self.clients.random_range(0..MAPS.len())];
        (map.into(), vec![b'a' + self.clients.random_range(0..KEYS)])
    }

    /// What a client wants at a machine.
    fn wish(&mut self, client: usize, node: usize) -> Wish {
        if self.play.clients[client].insists {
            let (map, key) = self.place_of_key();
            let ops = vec![Op::Put { map, key, value: self.value() }];
            let wait = Wait::Committed { timeout_ms: PATIENCE_MS };
            return Wish::Write { ops, again: true, wait };
        }
        if self.clients.random_bool(0.4) {
            let consistency = match self.clients.random_range(0..4) {
                0 => Consistency::Committed,
                1 => Consistency::Local,
                _ => Consistency::Linearizable,
            };
            return Wish::Read { ops: self.reading(), consistency };
        }
        let mut ops = if self.clients.random_bool(0.2) { self.reading() } else { Vec::new() };
        for _ in 0..if self.clients.random_bool(0.2) { 3 } else { 1 } {
            let op = self.writing(node);
            ops.push(op);
        }
        let wait = if self.clients.random_bool(0.5) {
            Wait::Response
        } else {
            Wait::Committed { timeout_ms: self.clients.random_range(100..PATIENCE_MS) }
        };
        Wish::Write { ops, again: self.clients.random_bool(0.5), wait }
    }

    fn reading(&mut self) -> Vec<Op> {
        let (map, key) = self.place_of_key();
        if self.clients.random_bool(0.7) {
            return vec![Op::Get { map, key }];
        }
        let to = self.clients.random_bool(0.5).then(|| vec![b'z']);
        vec![Op::Range { map, from: key, to, limit: self.clients.random_range(1..6) }]
    }

    fn writing(&mut self, node: usize) -> Op {
        let (map, key) = self.place_of_key();
        let value = self.value();
        match self.clients.random_range(0..6) {
            0 => Op::Delete { map, key },
            1 | 2 => {
                // What it believes to be there is what this machine believes.
                let query = Query::Get {
                    map: map.to_string(),
                    key: key.clone(),
                    consistency: Consistency::Local,
                };
                let seat = self.seat(Place { node, group: 0 });
                let expected = match seat.member.as_ref().map(|driver| driver.query(&query)) {
                    Some(Ok(Answer::Value(value, _))) => value,
                    _ => None,
                };
                Op::CompareAndSet { map, key, expected, value: Some(value) }
            }
            _ => Op::Put { map, key, value },
        }
    }

    /// Somebody is answered.
    pub(super) fn answered(&mut self, ticket: u64, result: &Result<Reply, Error>) {
        let Some((asker, node)) = self.play.asked.remove(&ticket) else {
            return self.fail("truthful_answers", format!("question {ticket} is answered twice"));
        };
        self.tell(|| format!("n{node} answers {ticket}: {result:?}"));
        let (client, operation) = match asker {
            Asker::Operator => return self.operator_hears(result),
            Asker::Client(client, operation) => (client, operation),
        };
        let checker = &self.play.checker;
        let next = match self.play.history.answer(operation, result, self.now, checker) {
            Ok(next) => next,
            Err(violation) => return self.check(Err(violation)),
        };
        if self.play.clients[client].waits != Some(ticket) {
            // It has lost its patience before.
            return;
        }
        self.play.clients[client].waits = None;
        self.client_goes_on(client, operation.0, next, result);
    }

    fn client_goes_on(
        &mut self,
        client: usize,
        number: usize,
        next: Next,
        result: &Result<Reply, Error>,
    ) {
        let may = self.play.history.may_try_again(number);
        let state = &mut self.play.clients[client];
        let tries = state.at.map_or(0, |(_, tries)| tries);
        match next {
            Next::Over(seen) => {
                if state.minds {
                    state.session = seen.or(state.session);
                }
                state.at = None;
                if state.insists && committed(result) {
                    (state.insists, state.content) = (false, true);
                }
                self.client_soon(client, 0);
            }
            Next::Again if tries < TRIES || state.insists => self.client_soon(client, 50),
            Next::Unknown if may && (tries < TRIES || state.insists) => {
                self.client_soon(client, 50);
            }
            Next::Lost | Next::Again | Next::Unknown => {
                state.at = None;
                if next == Next::Lost {
                    state.session = None;
                }
                self.client_soon(client, 50);
            }
        }
    }

    /// A client has waited long enough.
    pub(super) fn loses_patience(&mut self, ticket: u64) {
        let waits = |client: &Client| client.waits == Some(ticket);
        let Some(client) = self.play.clients.iter().position(waits) else { return };
        self.play.clients[client].waits = None;
        let Some((number, _)) = self.play.clients[client].at else { return };
        let silence = Err(Error::new(Code::TransactionReplicationFailed, "no answer"));
        self.client_goes_on(client, number, Next::Unknown, &silence);
    }

    /// A machine stops: whoever waits for it hears that the connection is closed.
    pub(super) fn hangs_up(&mut self, node: usize) {
        let asked = std::mem::take(&mut self.play.asked);
        let (lost, left) = asked.into_iter().partition(|(_, (_, at))| *at == node);
        self.play.asked = left;
        for (ticket, (asker, _)) in lost {
            match asker {
                Asker::Operator => self.operator_hears_nothing(),
                Asker::Client(..) => self.loses_patience(ticket),
            }
        }
    }

    /// All clients have done what they wanted.
    pub(super) fn clients_are_content(&self) -> bool {
        self.play.clients.iter().all(|client| client.content && client.at.is_none())
    }

    /// From now on each client insists on one more write.
    pub(super) fn clients_insist(&mut self) {
        for client in 0..self.play.clients.len() {
            self.play.clients[client].insists = true;
            self.client_soon(client, 0);
        }
    }

    /// Somebody looks at what a machine says of itself and of transactions.
    fn look_around(&mut self, node: usize) {
        let place = Place { node, group: 0 };
        let known = self.play.checker.committed().len() as u64;
        let seqno = 1 + self.clients.random_range(0..known + 3);
        let Some(driver) = &self.seat(place).member else { return };
        let view = raft_of(driver).map_or(1, |raft| raft.view_at(seqno).max(1));
        let view = view - u64::from(self.now.is_multiple_of(5) && view > 1);
        let tx = TxId::new(view, seqno);
        if self.seat(place).busy_until > self.now {
            return;
        }
        let Ok(Answer::Tx(tx, status)) = driver.query(&Query::Tx(tx)) else { return };
        self.tell(|| format!("{place} says that {tx} is {status:?}"));
        let result = self.play.history.says(tx, status, &self.play.checker);
        self.check(result);
    }

    /// Something that nobody waits for.
    pub(super) fn order(&mut self, node: usize, command: Command) {
        self.ask(node, Asker::Operator, command);
    }
}

fn committed(result: &Result<Reply, Error>) -> bool {
    use quorate_replica::cft::api::TxStatus;
    matches!(result, Ok(Reply::Written { status: TxStatus::Committed, .. }))
}
