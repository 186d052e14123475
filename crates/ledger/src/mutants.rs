//! Deliberate bugs, to check the checkers: each is a known mistake of protocols like ours, at the
//! one line that makes it, and must be caught by the simulator.
//!
//! They exist only in a build with the feature `mutants`, which the simulator's tests alone can turn
//! on; without it [`mutated`] is the constant `false` and nothing of a mutant is left in the program.
//! With it a mutant is still asleep until `activate` wakes it, in the thread that asked.

/// A deliberate bug.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mutant {
    /// Waits for `n - f - 1` where `n - f` are needed.
    QuorumOffByOne,
    /// Is certain with `2f` where `2f + 1` are needed.
    CertainOffByOne,
    /// Makes and accepts certificates of `2f` signatures.
    CertificateOffByOne,
    /// A certificate counts each signature twice.
    SignerCountedTwice,
    /// Reliable broadcast counts ECHO messages, not their senders.
    EchoPerMessage,
    /// Binary agreement counts BVAL messages, not their senders.
    BvalPerMessage,
    /// A decoded proposal is not checked against its root.
    RootNotRecomputed,
    /// A forwarded coin is taken without verifying it.
    CoinUnverified,
    /// Coin shares are put together whether they are right or not.
    CoinSharesUnverified,
    /// From the second round on each member tosses a coin of its own.
    LocalCoin,
    /// The coin is tossed after AUX, without waiting for CONF.
    NoConfRound,
    /// A member releases its decryption share of its own proposal when it proposes it.
    EarlyShare,
    /// The journal does not sync what it appends.
    AppendUnsynced,
    /// A step is released although its records could not be written.
    ReleaseUnwritten,
    /// Votes are written where no restart finds them.
    VoteForgotten,
    /// Recovery believes a torn frame.
    TornTailTrusted,
    /// Nobody looks whether a trx is in the ledger already.
    DuplicateTrx,
    /// An own trx is dropped when its timer is due, as a gossiped one is.
    OwnEvicted,
    /// A block takes its maker's time, not the median of the proposals'.
    OwnTimestamp,
    /// Frames of the view before are taken for frames of the view in force.
    StaleView,
    /// On all nodes but the owner's a new view begins one epoch late.
    WrongHandover,
    /// The certificate of a fetched block is not verified.
    UncheckedBlock,
    /// A status ends an amnesia whether it answers the challenge or not.
    StatusUnasked,
    /// Raft: an election needs a quorum of all nodes together, not of each configuration.
    RaftUnionQuorum,
    /// Raft: a leader commits entries of older views by counting.
    RaftOldViewCounted,
    /// Raft: what a NACK names counts as being there.
    RaftNackCounts,
    /// Raft: the first message of a view cuts the log, whether it conflicts or not.
    RaftCutOnFirstAppend,
    /// Raft: an ACK names the follower's last entry, not the message's.
    RaftAckOwnEnd,
    /// Raft: a node stops when its retirement is committed, before others know.
    RaftLeavesCompleted,
    /// Raft: a node that follows drops what is not signed.
    RaftCutOnFollowing,
    /// Raft: a leader stays while it hears a quorum of any configuration.
    RaftAnyQuorumHeard,
    /// Raft: a node that follows again has its vote back, in the same view.
    RaftVoteFreedByFollowing,
    /// Raft: a follower commits as far as its leader, beyond what the message verified.
    RaftCommitBeyondMessage,
    /// Raft: a leader that hears nobody leads on.
    RaftNoCheckQuorum,
    /// Raft: votes compare last entries, not last signatures.
    RaftVoteByLastEntry,
    /// Raft: a new leader keeps what follows its last signature.
    RaftKeepsUnsigned,
    /// Raft: a leader that has retired for good does not hand over.
    RaftNoHandover,
    /// Raft: a NACK moves back by one entry.
    RaftBackOffByOne,
    /// Raft: nodes that have retired for good are still sent to.
    RaftPeersStay,
    /// Raft: a message may hold entries of several views.
    RaftAppendSpansViews,
    /// Raft: any entry can be committed, signed or not.
    RaftNoSignatureGate,
    /// Raft: a vote is granted in a view whose leader is known.
    RaftVoteWhileLed,
    /// Raft: the vote is not written before the answer leaves.
    RaftVoteUnwritten,
    /// Raft: neither view nor vote are.
    RaftViewUnwritten,
    /// Raft: entries are not written before the ACK leaves.
    RaftAckUnwritten,
    /// Raft: the commit that ends a configuration is not written before anybody hears of it.
    RaftEndUnwritten,
    /// A member of signed Raft: it acknowledges entries while its disk still writes them.
    CftAckAhead,
    /// A member of signed Raft: its log does not sync what it appends.
    CftAppendUnsynced,
    /// A member of signed Raft: what its log could not write counts as written.
    CftAppendFailed,
    /// A member of signed Raft: a restarted node does not know whom it voted for.
    CftVoteForgotten,
    /// A member of signed Raft: a leader answers linearizable reads without asking anybody.
    CftReadUnconfirmed,
    /// A member of signed Raft: linearizable reads see what is not committed.
    CftReadUncommitted,
    /// A member of signed Raft: idempotency keys of earlier leaders are not looked at.
    CftKeysOfOwnView,
    /// A member of signed Raft: a forwarded write has no key of its own.
    CftForwardUnkeyed,
    /// A member of signed Raft: a session may go on after a rollback.
    CftSessionUnchecked,
    /// A member of signed Raft: who waits for the commit is answered at once.
    CftCommittedAtOnce,
    /// A member of signed Raft: what is rolled back stays in the state.
    CftRollbackKeepsState,
    /// A member of signed Raft: recovery drops what follows the last signature but one.
    CftRecoversTooLittle,
}

impl Mutant {
    /// Those of signed Raft.
    pub const RAFT: [Self; 23] = [
        Self::RaftUnionQuorum,
        Self::RaftOldViewCounted,
        Self::RaftNackCounts,
        Self::RaftCutOnFirstAppend,
        Self::RaftAckOwnEnd,
        Self::RaftLeavesCompleted,
        Self::RaftCutOnFollowing,
        Self::RaftAnyQuorumHeard,
        Self::RaftVoteFreedByFollowing,
        Self::RaftCommitBeyondMessage,
        Self::RaftNoCheckQuorum,
        Self::RaftVoteByLastEntry,
        Self::RaftKeepsUnsigned,
        Self::RaftNoHandover,
        Self::RaftBackOffByOne,
        Self::RaftPeersStay,
        Self::RaftAppendSpansViews,
        Self::RaftNoSignatureGate,
        Self::RaftVoteWhileLed,
        Self::RaftVoteUnwritten,
        Self::RaftViewUnwritten,
        Self::RaftAckUnwritten,
        Self::RaftEndUnwritten,
    ];

    /// Those of members of signed Raft, around its core.
    pub const CFT: [Self; 12] = [
        Self::CftAckAhead,
        Self::CftAppendUnsynced,
        Self::CftAppendFailed,
        Self::CftVoteForgotten,
        Self::CftReadUnconfirmed,
        Self::CftReadUncommitted,
        Self::CftKeysOfOwnView,
        Self::CftForwardUnkeyed,
        Self::CftSessionUnchecked,
        Self::CftCommittedAtOnce,
        Self::CftRollbackKeepsState,
        Self::CftRecoversTooLittle,
    ];

    /// All but those of signed Raft.
    pub const ALL: [Self; 23] = [
        Self::QuorumOffByOne,
        Self::CertainOffByOne,
        Self::CertificateOffByOne,
        Self::SignerCountedTwice,
        Self::EchoPerMessage,
        Self::BvalPerMessage,
        Self::RootNotRecomputed,
        Self::CoinUnverified,
        Self::CoinSharesUnverified,
        Self::LocalCoin,
        Self::NoConfRound,
        Self::EarlyShare,
        Self::AppendUnsynced,
        Self::ReleaseUnwritten,
        Self::VoteForgotten,
        Self::TornTailTrusted,
        Self::DuplicateTrx,
        Self::OwnEvicted,
        Self::OwnTimestamp,
        Self::StaleView,
        Self::WrongHandover,
        Self::UncheckedBlock,
        Self::StatusUnasked,
    ];
}

/// Whether this bug is awake: never, in this build.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[must_use]
pub const fn mutated(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use self::awake::{Awake, activate, mutated};

#[cfg(feature = "mutants")]
mod awake {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static AWAKE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether this bug is awake in this thread.
    #[must_use]
    pub fn mutated(mutant: Mutant) -> bool {
        AWAKE.get() == Some(mutant)
    }

    /// Keeps a bug awake in this thread until it is dropped.
    #[derive(Debug)]
    #[must_use = "the bug falls asleep when this is dropped"]
    pub struct Awake(Option<Mutant>);

    /// Wakes a bug in this thread; the one that was awake before sleeps meanwhile.
    pub fn activate(mutant: Mutant) -> Awake {
        Awake(AWAKE.replace(Some(mutant)))
    }

    impl Drop for Awake {
        fn drop(&mut self) {
            AWAKE.set(self.0);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::{Mutant, activate, mutated};

        #[test]
        fn a_mutant_sleeps_when_its_guard_is_dropped() {
            assert!(!Mutant::ALL.into_iter().any(mutated));
            let outer = activate(Mutant::LocalCoin);
            {
                let _inner = activate(Mutant::EarlyShare);
                assert!(mutated(Mutant::EarlyShare) && !mutated(Mutant::LocalCoin));
            }
            assert!(mutated(Mutant::LocalCoin));
            drop(outer);
            assert!(!Mutant::ALL.into_iter().any(mutated));
        }
    }
}
