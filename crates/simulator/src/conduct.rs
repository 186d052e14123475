//! What a correct member may say, checked as its core says it. Blocks show whether members agree;
//! that a secret was told too early shows nowhere else.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::committee::Committee;
use quorate_consensus::honeybadger::message::{
    AgreementMessage, BroadcastMessage, EpochMessage, HoneyBadgerMessage, SlotMessage,
};
use quorate_consensus::limits::{FUTURE_EPOCHS, PAST_EPOCHS};
use quorate_crypto::hash::Digest;
use quorate_crypto::member::MemberPublicKey;
use quorate_crypto::threshold::{Joint, NodeIndex};
use quorate_ledger::ids::{Epoch, GroupId, ViewNumber};
use quorate_ledger::view::View;

use crate::properties::Violation;

/// Coins of these rounds are fixed, so nobody can tell them too early.
const FIXED_COINS: u64 = 2;

thread_local! {
    /// The first breach in the world that runs in this thread.
    static BREACH: RefCell<Option<Violation>> = const { RefCell::new(None) };
    /// The coins that correct members have shown.
    static COINS: RefCell<BTreeMap<CoinName, Joint>> = const { RefCell::new(BTreeMap::new()) };
    /// The coins that correct members have given shares of: a member that says so again, be it in
    /// its next life, tells nothing new.
    static SHARED: RefCell<BTreeSet<(CoinName, NodeIndex)>> = const { RefCell::new(BTreeSet::new()) };
    /// What correct members have been heard to say, each word once and for all.
    static WORDS: RefCell<BTreeMap<(MemberPublicKey, Word), u64>> =
        const { RefCell::new(BTreeMap::new()) };
    /// Members that may break their word: they have lost notes, and nothing could notice it.
    static EXCUSED: RefCell<BTreeSet<MemberPublicKey>> = const { RefCell::new(BTreeSet::new()) };
}

/// The first breach since the last call.
pub fn breach() -> Option<Violation> {
    BREACH.with(RefCell::take)
}

/// Another world begins: what the one before has left behind is none of its business.
pub fn begin() {
    BREACH.with(RefCell::take);
    COINS.with(RefCell::take);
    SHARED.with(RefCell::take);
    WORDS.with(RefCell::take);
    EXCUSED.with(RefCell::take);
}

/// A member has lost notes without any way to notice it: from now on it counts as a traitor.
pub fn excuse(member: MemberPublicKey) {
    EXCUSED.with(|cell| cell.borrow_mut().insert(member));
}

/// What a member can say only once: group, view, epoch, proposer, kind and round.
type Word = (GroupId, ViewNumber, Epoch, NodeIndex, &'static str, u64);

/// What a message says that its sender may never say otherwise, and how it says it.
fn word(message: &HoneyBadgerMessage) -> Option<(NodeIndex, &'static str, u64, u64)> {
    use AgreementMessage::{Aux, BVal, Coin, Conf, Share, Term};
    let EpochMessage::Slot(proposer, said) = &message.body else { return None };
    let root = |root: &Digest| u64::from_be_bytes(*root.0.first_chunk().expect("32 bytes"));
    let (kind, round, value) = match said {
        SlotMessage::Broadcast(BroadcastMessage::Echo(shard)) => ("ECHO", 0, root(&shard.root)),
        SlotMessage::Broadcast(BroadcastMessage::Ready(digest)) => ("READY", 0, root(digest)),
        SlotMessage::Agreement(Aux { round, value }) => ("AUX", *round, u64::from(*value)),
        SlotMessage::Agreement(Conf { round, values }) => {
            ("CONF", *round, u64::from(values.bits()))
        }
        SlotMessage::Agreement(Term { value, from }) => {
            ("TERM", 0, from.rotate_left(1) ^ u64::from(*value))
        }
        SlotMessage::Broadcast(BroadcastMessage::Init(_))
        | SlotMessage::Agreement(BVal { .. } | Share { .. } | Coin { .. }) => return None,
    };
    Some((*proposer, kind, round, value))
}

/// A correct member is heard to say something: it must not have said something else before,
/// whatever it has lost since (AMN-1).
pub fn heard(group: GroupId, view: &View, from: NodeIndex, message: &HoneyBadgerMessage) {
    let Some(speaker) = view.producers.get(from.get()) else { return };
    let Some((proposer, kind, round, value)) = word(message) else { return };
    let word = (group, view.number, message.epoch, proposer, kind, round);
    let first =
        WORDS.with(|cell| *cell.borrow_mut().entry((speaker.member, word)).or_insert(value));
    if first != value && !EXCUSED.with(|cell| cell.borrow().contains(&speaker.member)) {
        let epoch = message.epoch;
        let text =
            format!("member {from} has said two {kind} {round} of {proposer} in epoch {epoch}");
        report("one_voice", text);
    }
}

fn report(property: &'static str, detail: String) {
    BREACH.with(|cell| {
        cell.borrow_mut().get_or_insert(Violation::new(property, detail));
    });
}

/// Group, view, epoch, proposer and round.
type CoinName = (GroupId, ViewNumber, Epoch, NodeIndex, u64);

/// Members by what they have decided, and the first round in which their TERM is their CONF.
type Terms = BTreeMap<NodeIndex, (bool, u64)>;

/// One member's record of what it has heard and said.
pub(crate) struct Conduct {
    group: GroupId,
    view: ViewNumber,
    committee: Committee,
    me: NodeIndex,
    /// Who has said CONF, by epoch, proposer and round; only where the coin is a secret.
    confirmed: BTreeMap<(Epoch, NodeIndex, u64), BTreeSet<NodeIndex>>,
    terms: BTreeMap<(Epoch, NodeIndex), Terms>,
}

impl Conduct {
    pub(crate) fn new(view: &View, me: NodeIndex) -> Self {
        let committee = Committee::new(view.producers.len());
        let (confirmed, terms) = (BTreeMap::new(), BTreeMap::new());
        Self { group: view.group, view: view.number, committee, me, confirmed, terms }
    }

    /// The coin that a message shows: epoch, proposer, round and joint signature.
    pub(crate) fn coin(message: &HoneyBadgerMessage) -> Option<(Epoch, NodeIndex, u64, Joint)> {
        match &message.body {
            EpochMessage::Slot(
                proposer,
                SlotMessage::Agreement(AgreementMessage::Coin { round, joint }),
            ) => Some((message.epoch, *proposer, *round, joint.clone())),
            _ => None,
        }
    }

    /// The member shows a coin to somebody behind it: it has acted on it.
    pub(crate) fn shows(&self, (epoch, proposer, round, joint): &(Epoch, NodeIndex, u64, Joint)) {
        let name = (self.group, self.view, *epoch, *proposer, *round);
        let same = COINS
            .with(|cell| cell.borrow_mut().entry(name).or_insert_with(|| joint.clone()) == joint);
        if !same {
            let me = self.me;
            let text = format!("member {me}: another coin {round} of {proposer}, epoch {epoch}");
            report("common_coin", text);
        }
    }

    /// Whether a message is one that must not be said too early, or that decides about one.
    pub(crate) const fn concerns(message: &HoneyBadgerMessage) -> bool {
        use AgreementMessage::{Conf, Share, Term};
        matches!(
            &message.body,
            EpochMessage::Share(..)
                | EpochMessage::Slot(
                    _,
                    SlotMessage::Agreement(Conf { .. } | Term { .. } | Share { .. })
                )
        )
    }

    /// The member, which is in `epoch`, hears (or says) something.
    pub(crate) fn hears(&mut self, epoch: Epoch, from: NodeIndex, message: &HoneyBadgerMessage) {
        let oldest = Epoch(epoch.0.saturating_sub(PAST_EPOCHS + 1));
        let of = message.epoch;
        if of < oldest || of.0 > epoch.0 + FUTURE_EPOCHS {
            return;
        }
        let EpochMessage::Slot(proposer, SlotMessage::Agreement(said)) = &message.body else {
            return;
        };
        match said {
            AgreementMessage::Conf { round, .. } if *round >= FIXED_COINS => {
                self.confirmed.entry((of, *proposer, *round)).or_default().insert(from);
            }
            AgreementMessage::Term { value, from: first } => {
                let terms = self.terms.entry((of, *proposer)).or_default();
                terms.entry(from).or_insert((*value, *first));
            }
            _ => {}
        }
        while self.confirmed.first_key_value().is_some_and(|((epoch, ..), _)| *epoch < oldest) {
            self.confirmed.pop_first();
        }
        while self.terms.first_key_value().is_some_and(|((epoch, _), _)| *epoch < oldest) {
            self.terms.pop_first();
        }
    }

    /// The member says this to all in one step.
    pub(crate) fn says(&mut self, epoch: Epoch, said: &[HoneyBadgerMessage]) {
        let me = self.me;
        said.iter().for_each(|message| self.hears(epoch, me, message));
        let breach = said.iter().find_map(|message| match &message.body {
            EpochMessage::Share(proposer, _) => self.early_share(message.epoch, *proposer),
            EpochMessage::Slot(
                proposer,
                SlotMessage::Agreement(AgreementMessage::Share { round, .. }),
            ) => self.early_coin(message.epoch, *proposer, *round),
            _ => None,
        });
        if let Some(detail) = breach {
            report("secrecy", detail);
        }
    }

    /// DEC-2: a decryption share is told when the subset is known and the proposal is in it.
    fn early_share(&self, epoch: Epoch, proposer: NodeIndex) -> Option<String> {
        let own = |member| self.terms.get(&(epoch, member))?.get(&self.me).map(|term| term.0);
        let known = self.committee.members().all(|member| own(member).is_some());
        let early = !known || own(proposer) != Some(true);
        early.then(|| {
            let me = self.me;
            format!("member {me} opens the proposal of {proposer} before it is in, epoch {epoch}")
        })
    }

    /// BA-6: a coin share is told when `n - f` members have confirmed.
    fn early_coin(&self, epoch: Epoch, proposer: NodeIndex, round: u64) -> Option<String> {
        let name = ((self.group, self.view, epoch, proposer, round), self.me);
        if !SHARED.with(|cell| cell.borrow_mut().insert(name)) {
            return None;
        }
        let mut sure = self.confirmed.get(&(epoch, proposer, round)).cloned().unwrap_or_default();
        let terms = self.terms.get(&(epoch, proposer)).into_iter().flatten();
        sure.extend(terms.filter(|(_, term)| term.1 <= round).map(|(member, _)| *member));
        let needed = self.committee.size() - (self.committee.size() - 1) / 3;
        (sure.len() < needed).then(|| {
            let (me, have) = (self.me, sure.len());
            format!("member {me} tosses coin {round} of {proposer} with {have} CONF, epoch {epoch}")
        })
    }
}
