//! A peer's fault as data: returned by steps, counted and shown, never an error path.

use quorate_crypto::threshold::NodeIndex;

/// What kind of wrong a member did.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fault {
    /// Two different messages where the protocol allows one.
    Equivocation,
    /// A shard or proof that does not fit its root.
    BadShard,
    /// A broadcast whose decoded value does not have the promised root.
    BadRoot,
    /// A coin or decryption share that does not verify.
    BadShare,
    /// A sealed proposal that cannot be opened or decoded.
    BadProposal,
    /// A trx in a proposal that the rules refuse.
    BadTrx,
    /// A message that does not decode or breaks a limit.
    Malformed,
    /// A message for an epoch or round too far away.
    OutOfWindow,
    /// A block vote whose signature or hash is wrong.
    BadVote,
    /// A block, certificate or view link that does not verify.
    BadBlock,
    /// A dealing, acknowledgement or log of key generation that does not verify.
    BadKeyGeneration,
}

/// One observed fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// Who did it.
    pub member: NodeIndex,
    /// What.
    pub fault: Fault,
    /// Detail for the operator.
    pub detail: String,
}

impl Evidence {
    /// Notes that `member` did `fault`.
    pub fn new(member: NodeIndex, fault: Fault, detail: impl Into<String>) -> Self {
        Self { member, fault, detail: detail.into() }
    }
}
