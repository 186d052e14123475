//! Named adversaries: who betrays, and how. One file tells each family's story.
//!
//! | module | story | where it acts |
//! |---|---|---|
//! | `silence` | says nothing, or says it to some, now and then to the same for good | the core's step |
//! | `proposals` | shares out two proposals, or shards that are none | the core's step |
//! | `votes` | votes both ways in binary agreement | the core's step |
//! | `shares` | noise for threshold shares and joint signatures | the core's step |
//! | `flood` | far-future epochs, storms of questions, junk, too large | the core's step, packets |
//! | `history` | false blocks, certificates, heads, statuses, documents | packets |
//! | `ballots` | votes for other blocks than the decided one | packets |
//! | `echoes` | what was said before: in older views, elsewhere, by others | packets |
//! | `masks` | speaks in other members' names | packets |
//! | `twins` | two machines with the same keys and the same past | the world |
//! | `amnesia` | forgets at every restart what it said | the world |
//!
//! A traitor holds its own keys ([`purse::Purse`]), so what it makes is signed like anybody's; it
//! cannot forge others' signatures. At most `f` producers betray, never the owner, who must lead
//! changes; both twins are one traitor. A lying owner is not played.

pub mod amnesia;
mod ballots;
mod core;
mod echoes;
mod flood;
mod history;
mod masks;
pub mod packets;
mod proposals;
pub mod purse;
mod shares;
mod silence;
pub mod twins;
mod votes;

use std::cell::RefCell;
use std::collections::BTreeMap;

use quorate_consensus::core::Target;
use quorate_consensus::honeybadger::message::{EpochMessage, HoneyBadgerMessage, SlotMessage};
use quorate_crypto::member::MemberPublicKey;
use quorate_crypto::threshold::NodeIndex;
use quorate_ledger::ids::Epoch;
use rand::Rng;

pub use self::core::Traitor;

/// What a member does wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Treason {
    /// Says nothing at all.
    Silent,
    /// Shares out another proposal to the second half of the committee.
    Equivocator,
    /// Sends shards that don't fit their root, or a root whose shards are no proposal.
    WrongShards,
    /// Sends random bytes as coin and decryption shares and joint signatures.
    Forger,
    /// Votes both ways in binary agreement and differently to different members.
    DoubleVoter,
    /// Says each message to some and not to others; in every other epoch to the same ones, also
    /// when it is asked again.
    Withholder,
    /// Answers those who catch up with false blocks, certificates and documents, and says false
    /// heads and statuses.
    FalseHistorian,
    /// Sends much, far ahead and too large.
    Flooder,
    /// Is two machines with the same keys, each of which is honest.
    Twins,
    /// Loses the notes of what it said at every restart, and restarts often.
    Amnesiac,
    /// Votes for blocks that were not decided, and too early.
    WrongBallots,
    /// Sends again what it has heard and said, in other views, epochs and groups.
    Echo,
    /// Speaks in other members' names.
    Impersonator,
}

impl Treason {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Silent,
        Self::Equivocator,
        Self::WrongShards,
        Self::Forger,
        Self::DoubleVoter,
        Self::Withholder,
        Self::FalseHistorian,
        Self::Flooder,
        Self::Twins,
        Self::Amnesiac,
        Self::WrongBallots,
        Self::Echo,
        Self::Impersonator,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Equivocator => "equivocate",
            Self::WrongShards => "wrong_shards",
            Self::Forger => "forged_shares",
            Self::DoubleVoter => "double_vote",
            Self::Withholder => "withhold",
            Self::FalseHistorian => "false_catch_up",
            Self::Flooder => "flood",
            Self::Twins => "twins",
            Self::Amnesiac => "amnesia",
            Self::WrongBallots => "wrong_block_votes",
            Self::Echo => "old_frames",
            Self::Impersonator => "impersonate",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|treason| treason.name() == name)
    }

    /// Whether `f + 1` of this kind alone stop a committee, split it or keep it busy for ever. The
    /// others have no power over what is ordered: they lie where a correct member looks, say nothing
    /// new, or give up only their own proposal; or they do harm by chance.
    #[must_use]
    pub const fn breaks_beyond_f(self) -> bool {
        matches!(self, Self::Silent | Self::Forger | Self::DoubleVoter | Self::Twins)
    }
}

thread_local! {
    /// The roles of the world that runs in this thread. A core is opened with nothing but its view
    /// and keys, as in production, so it looks its role up by its member key.
    static ROLES: RefCell<BTreeMap<MemberPublicKey, Treason>> = const { RefCell::new(BTreeMap::new()) };
}

/// Sets who betrays in this thread's world from the next step on.
pub fn cast(roles: BTreeMap<MemberPublicKey, Treason>) {
    ROLES.with(|cell| *cell.borrow_mut() = roles);
}

/// What a member does wrong in this thread's world, if anything.
#[must_use]
pub fn role_of(member: &MemberPublicKey) -> Option<Treason> {
    ROLES.with(|cell| cell.borrow().get(member).copied())
}

/// What one message of a core becomes.
type Sent = Vec<(Target, HoneyBadgerMessage)>;

fn in_slot(epoch: Epoch, proposer: NodeIndex, message: SlotMessage) -> HoneyBadgerMessage {
    HoneyBadgerMessage { epoch, body: EpochMessage::Slot(proposer, message) }
}

/// What everybody is told, told to each on its own.
fn each(n: usize, target: Target) -> Vec<Target> {
    match target {
        Target::All => (0..n).map(|i| Target::One(NodeIndex(i as u16))).collect(),
        one @ Target::One(_) => vec![one],
    }
}

fn noise(rng: &mut impl Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes);
    bytes
}
