//! Reliable broadcast of one proposal: lines RBC-1 to RBC-7 of the protocol text.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_crypto::hash::Digest;
use quorate_crypto::threshold::NodeIndex;
use quorate_ledger::codec::{Reader, Writer};
use quorate_ledger::mutants::{Mutant, mutated};

use super::Seat;
use super::message::{BroadcastMessage, Fragment};
use super::shards;
use super::votes::{Kind, Vote};
use crate::core::{Step, Target};
use crate::evidence::{Evidence, Fault};
use crate::trace::Trace;

/// What a broadcast ends with, the same at every correct member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Delivery {
    /// The proposal.
    Value(Arc<[u8]>),
    /// The shards under the root are no proposal: the proposer's fault, as good as nothing.
    Invalid,
}

type BroadcastStep = Step<BroadcastMessage, Delivery>;

/// A shard that is known to be under its root.
#[derive(Clone)]
struct Echo {
    root: Digest,
    shard: Arc<[u8]>,
    leaf: Digest,
}

/// One member's side of the broadcast of one proposer.
#[derive(Clone)]
pub(super) struct Broadcast {
    seat: Seat,
    /// The proposer's own: the fragment of every member.
    fragments: Vec<Fragment>,
    /// The first valid INIT; its ECHO has been said.
    echo: Option<Fragment>,
    ready: Option<Digest>,
    echoes: BTreeMap<NodeIndex, Echo>,
    readies: BTreeMap<NodeIndex, Digest>,
    delivered: bool,
}

impl Broadcast {
    /// Opens the broadcast with what this member remembers, and says it again.
    pub(super) fn open(seat: Seat, votes: &[Vote]) -> (Self, BroadcastStep) {
        let mut this = Self {
            seat,
            fragments: Vec::new(),
            echo: None,
            ready: None,
            echoes: BTreeMap::new(),
            readies: BTreeMap::new(),
            delivered: false,
        };
        for vote in votes {
            this.remember(vote);
        }
        let mut step = Step::new();
        if this.said_something() {
            let members = this.seat.committee.members();
            for member in members.filter(|member| *member != this.seat.me) {
                this.repeat(member, &mut step);
            }
            this.trace(&mut step, "RBC-7", || "says again what it said before the restart".into());
        }
        // The crash may have cut a turn short: go on where the notes end.
        this.progress(&mut step);
        (this, step)
    }

    /// Whether this member, the proposer, has proposed.
    pub(super) fn proposed(&self) -> bool {
        !self.fragments.is_empty()
    }

    /// RBC-1: the proposer shares its proposal out.
    ///
    /// # Panics
    /// If this member isn't the proposer or proposes twice: our own mistake.
    pub(super) fn propose(&mut self, value: &[u8]) -> BroadcastStep {
        assert_eq!(self.seat.me, self.seat.proposer, "only the proposer proposes");
        assert!(!self.proposed(), "a proposer proposes once");
        let mut step = Step::new();
        step.record(self.seat.note(Kind::Proposal, 0, value));
        self.fragments = shards::split(self.seat.committee, value);
        for (member, fragment) in self.seat.committee.members().zip(&self.fragments) {
            if member != self.seat.me {
                step.send(Target::One(member), BroadcastMessage::Init(fragment.clone()));
            }
        }
        let length = value.len();
        self.trace(&mut step, "RBC-1", move || format!("proposes {length} bytes"));
        let own = self.fragments[self.seat.me.get()].clone();
        self.echo(own, &mut step);
        self.progress(&mut step);
        step
    }

    /// A message of another member.
    pub(super) fn receive(&mut self, from: NodeIndex, message: BroadcastMessage) -> BroadcastStep {
        let mut step = Step::new();
        match message {
            BroadcastMessage::Init(fragment) => self.on_init(from, fragment, &mut step),
            BroadcastMessage::Echo(fragment) => self.on_echo(from, fragment, &mut step),
            BroadcastMessage::Ready(root) => self.on_ready(from, root, &mut step),
        }
        self.progress(&mut step);
        step
    }

    /// What this member said, for `to`.
    pub(super) fn repeat<O>(&self, to: NodeIndex, step: &mut Step<BroadcastMessage, O>) {
        let mut say = |message| {
            step.send(Target::One(to), message);
        };
        if let Some(fragment) = self.fragments.get(to.get()) {
            say(BroadcastMessage::Init(fragment.clone()));
        }
        if let Some(fragment) = &self.echo {
            say(BroadcastMessage::Echo(fragment.clone()));
        }
        if let Some(root) = self.ready {
            say(BroadcastMessage::Ready(root));
        }
    }

    /// RBC-2: shows the own shard to all, once.
    fn on_init(&mut self, from: NodeIndex, fragment: Fragment, step: &mut BroadcastStep) {
        if from != self.seat.proposer {
            step.accuse(Evidence::new(from, Fault::Malformed, "INIT of somebody else's proposal"));
            return;
        }
        if let Some(first) = &self.echo {
            if first.root != fragment.root {
                step.accuse(Evidence::new(from, Fault::Equivocation, "two INIT"));
            }
            return;
        }
        if shards::check(self.seat.committee, self.seat.me, &fragment).is_none() {
            step.accuse(Evidence::new(from, Fault::BadShard, "the shard of INIT"));
            return;
        }
        self.echo(fragment, step);
    }

    fn echo(&mut self, fragment: Fragment, step: &mut BroadcastStep) {
        let root = fragment.root;
        // The proposer's own shard comes out of its proposal, which is remembered whole.
        if !self.proposed() {
            step.record(self.seat.note(Kind::Echo, 0, &write_fragment(&fragment)));
        }
        step.send(Target::All, BroadcastMessage::Echo(fragment.clone()));
        self.trace(step, "RBC-2", move || format!("ECHO {}", short(&root)));
        self.count_own_echo(fragment);
    }

    fn count_own_echo(&mut self, fragment: Fragment) {
        let leaf = quorate_ledger::merkle::leaf_hash(&fragment.shard);
        let shard = fragment.shard.clone();
        self.echoes.insert(self.seat.me, Echo { root: fragment.root, shard, leaf });
        self.echo = Some(fragment);
    }

    /// RBC-3: a sender has one ECHO, of its own shard.
    fn on_echo(&mut self, from: NodeIndex, fragment: Fragment, step: &mut BroadcastStep) {
        if self.delivered {
            return;
        }
        if let Some(first) = self.echoes.get(&from) {
            if first.root != fragment.root {
                step.accuse(Evidence::new(from, Fault::Equivocation, "two ECHO"));
            } else if mutated(Mutant::EchoPerMessage) {
                let (again, place) = (first.clone(), u16::MAX - self.echoes.len() as u16);
                self.echoes.insert(NodeIndex(place), again);
            }
            return;
        }
        let Some(leaf) = shards::check(self.seat.committee, from, &fragment) else {
            step.accuse(Evidence::new(from, Fault::BadShard, "the shard of ECHO"));
            return;
        };
        let Fragment { root, shard, .. } = fragment;
        self.echoes.insert(from, Echo { root, shard, leaf });
    }

    /// RBC-5: a sender has one READY.
    fn on_ready(&mut self, from: NodeIndex, root: Digest, step: &mut BroadcastStep) {
        match self.readies.get(&from) {
            _ if self.delivered => {}
            Some(first) if *first != root => {
                step.accuse(Evidence::new(from, Fault::Equivocation, "two READY"));
            }
            Some(_) => {}
            None => {
                self.readies.insert(from, root);
            }
        }
    }

    fn progress(&mut self, step: &mut BroadcastStep) {
        if self.delivered {
            return;
        }
        let committee = self.seat.committee;
        if self.ready.is_none() {
            let echoed = tally(self.echoes.values().map(|echo| echo.root));
            let readied = tally(self.readies.values().copied());
            // RBC-4: n - f ECHO, or RBC-5: f + 1 READY.
            let by_echo = echoed.iter().find(|(_, count)| **count >= committee.correct());
            let by_ready = readied.iter().find(|(_, count)| **count >= committee.one_correct());
            if let Some((root, count)) = by_echo {
                self.say_ready(*root, "RBC-4", format!("{count} ECHO"), step);
            } else if let Some((root, count)) = by_ready {
                self.say_ready(*root, "RBC-5", format!("{count} READY"), step);
            }
        }
        // RBC-6: 2f + 1 READY and n - 2f ECHO.
        let readied = tally(self.readies.values().copied());
        let sure = readied.iter().find(|(_, count)| **count >= committee.certificate());
        if let Some((root, _)) = sure {
            self.deliver(root, step);
        }
    }

    fn say_ready(
        &mut self,
        root: Digest,
        line: &'static str,
        why: String,
        step: &mut BroadcastStep,
    ) {
        step.record(self.seat.note(Kind::Ready, 0, &root.0));
        step.send(Target::All, BroadcastMessage::Ready(root));
        self.trace(step, line, move || format!("READY {} after {why}", short(&root)));
        self.ready = Some(root);
        self.readies.insert(self.seat.me, root);
    }

    fn deliver(&mut self, root: &Digest, step: &mut BroadcastStep) {
        let committee = self.seat.committee;
        let fitting = self.echoes.iter().filter(|(_, echo)| echo.root == *root);
        let given: BTreeMap<NodeIndex, (Arc<[u8]>, Digest)> =
            fitting.map(|(member, echo)| (*member, (echo.shard.clone(), echo.leaf))).collect();
        if given.len() < committee.data_shards() {
            return;
        }
        self.delivered = true;
        self.echoes.clear();
        self.readies.clear();
        let delivery = match shards::join(committee, root, &given) {
            Some(value) => {
                let (length, root) = (value.len(), *root);
                let text = move || format!("delivers {length} bytes under {}", short(&root));
                self.trace(step, "RBC-6", text);
                Delivery::Value(value.into())
            }
            None => {
                let proposer = self.seat.proposer;
                step.accuse(Evidence::new(proposer, Fault::BadRoot, short(root)));
                let root = *root;
                self.trace(step, "RBC-6", move || {
                    format!("{} is no proposal's root", short(&root))
                });
                Delivery::Invalid
            }
        };
        step.output(delivery);
    }

    fn said_something(&self) -> bool {
        self.proposed() || self.echo.is_some() || self.ready.is_some()
    }

    fn remember(&mut self, vote: &Vote) {
        match vote.kind {
            Kind::Proposal => {
                self.fragments = shards::split(self.seat.committee, &vote.payload);
                let own = self.fragments[self.seat.me.get()].clone();
                self.count_own_echo(own);
            }
            Kind::Echo => {
                let fragment = read_fragment(&vote.payload).expect("an own ECHO can be read");
                self.count_own_echo(fragment);
            }
            Kind::Ready => {
                let root = Digest::from_slice(&vote.payload).expect("an own READY can be read");
                self.ready = Some(root);
                self.readies.insert(self.seat.me, root);
            }
            _ => {}
        }
    }

    fn trace<M, O>(
        &self,
        step: &mut Step<M, O>,
        line: &'static str,
        text: impl Fn() -> String + Send + Sync + 'static,
    ) {
        let proposer = self.seat.proposer;
        step.trace(Trace::new(line, move || format!("proposer {proposer}: {}", text())));
    }
}

fn tally(roots: impl Iterator<Item = Digest>) -> BTreeMap<Digest, usize> {
    let mut counts = BTreeMap::new();
    for root in roots {
        *counts.entry(root).or_default() += 1;
    }
    counts
}

/// The first digits of a root, for readers.
fn short(root: &Digest) -> String {
    let mut text = root.to_string();
    text.truncate(8);
    text
}

fn write_fragment(fragment: &Fragment) -> Vec<u8> {
    let mut writer = Writer::new();
    fragment.write(&mut writer);
    writer.finish()
}

fn read_fragment(bytes: &[u8]) -> Option<Fragment> {
    let mut reader = Reader::new(bytes);
    let fragment = Fragment::read(&mut reader).ok()?;
    reader.finish().ok()?;
    Some(fragment)
}
