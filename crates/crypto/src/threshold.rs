//! What a committee's joint key can do: one interface for the common coin and for threshold
//! encryption.
//!
//! Both are threshold signatures. A coin is the hash of the joint signature over the coin's name;
//! the decryption key of a sealed proposal is the joint signature over its target (identity-based
//! encryption, "time-lock"). So a member only ever signs shares and combines them, under two
//! separate [`Purpose`]s.
//!
//! The recovery threshold is `n - f` with `f = (n - 1) / 3`, not `f + 1`: a dealer's log may reveal
//! the shares of up to `f` slow members, so `f + 1` would be unsafe under asynchrony.

use std::collections::BTreeMap;

use rand_core::CryptoRng;

/// Position of a member in its view's ordered committee, starting at 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NodeIndex(pub u16);

impl NodeIndex {
    /// The position as an index into the committee.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

impl std::fmt::Display for NodeIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a joint signature is for. Shares of one purpose are worthless for the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Purpose {
    /// The common coin of binary agreement.
    Coin,
    /// The decryption key of one sealed proposal.
    Decryption,
}

/// One member's signature share, in the scheme's own encoding (at most [`MAX_SHARE`] bytes).
pub type Share = Vec<u8>;

/// The joint signature over a target, in the scheme's own encoding. Self-verifying: anyone with the
/// view's public key material can check it, so it may be forwarded by anyone.
pub type Joint = Vec<u8>;

/// Longest encoding of a share or of a joint signature, in bytes.
pub const MAX_SHARE: usize = 128;

/// What [`Threshold::seal`] adds to the length of a plaintext, at most, in bytes.
pub const SEAL_OVERHEAD: usize = 512;

/// Why shares could not be combined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CombineError {
    /// Fewer than `n - f` shares were given.
    #[error("{have} shares of {need} needed")]
    TooFew {
        /// Shares given.
        have: usize,
        /// Shares needed.
        need: usize,
    },
    /// The combination did not verify; these members' shares are wrong. Drop them, and combine the
    /// others if they are enough.
    #[error("wrong shares from members {0:?}")]
    BadShares(Vec<NodeIndex>),
}

/// Why a sealed proposal could not be opened although its key is right: its maker's fault, and the
/// same at every member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed text is malformed or was sealed to another target")]
pub struct OpenError;

/// One member's part of a view's joint key: its own share (absent for an observer) and the public
/// key material of all.
pub trait Threshold: Clone + Send + Sync + 'static {
    /// This member's share of the joint signature over `target`; `None` if this member has no
    /// share. Deterministic.
    fn sign_share(&self, purpose: Purpose, target: &[u8]) -> Option<Share>;

    /// Combines shares, keyed by the committee index of the member that sent each, into the joint
    /// signature. Combines first and verifies the result once; only if that fails are the wrong
    /// shares searched, and always named, even if enough good ones remain: the search is costly, so
    /// who made it necessary must not do so again. A share whose inner index is not its sender's is
    /// wrong.
    ///
    /// # Errors
    /// See [`CombineError`].
    fn combine(
        &self,
        purpose: Purpose,
        target: &[u8],
        shares: &BTreeMap<NodeIndex, Share>,
    ) -> Result<Joint, CombineError>;

    /// Whether `joint` is the joint signature over `target`.
    fn verify(&self, purpose: Purpose, target: &[u8], joint: &Joint) -> bool;

    /// Seals `plaintext` so that only the joint signature of [`Purpose::Decryption`] over `target`
    /// opens it. `header` is authenticated with it.
    fn seal(
        &self,
        rng: &mut impl CryptoRng,
        target: &[u8],
        header: &[u8],
        plaintext: &[u8],
    ) -> Vec<u8>;

    /// Opens what [`Threshold::seal`] made.
    ///
    /// # Errors
    /// [`OpenError`] if the text is malformed, was altered or sealed to another target or header.
    fn open(
        &self,
        target: &[u8],
        header: &[u8],
        sealed: &[u8],
        joint: &Joint,
    ) -> Result<Vec<u8>, OpenError>;

    /// The public key material of the view (joint polynomial), to be written into its record.
    fn public(&self) -> Vec<u8>;
}
