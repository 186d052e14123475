//! Block votes and certificates: a bitmap and the producers' signatures over a block hash.

use quorate_crypto::hash::Digest;
use quorate_crypto::member::MemberSignature;
use quorate_crypto::threshold::NodeIndex;
use quorate_crypto::view::ViewSignature;

use crate::ids::{BlockId, ViewNumber};

/// One producer's signatures over a block hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockVote {
    /// View whose committee votes.
    pub view: ViewNumber,
    /// The block.
    pub id: BlockId,
    /// Its hash.
    pub hash: Digest,
    /// The voter's position in the committee.
    pub voter: NodeIndex,
    /// By its consensus key of the view, in the domain [`VOTE_DOMAIN`]: counts for the certificate.
    pub view_sign: ViewSignature,
    /// By its member key, directly over the hash: `ProducerSign` of the JSON block, for clients of
    /// seed 001. Not part of the certificate's proof.
    pub member_sign: MemberSignature,
}

/// Domain of the view-key signature over a block hash.
pub const VOTE_DOMAIN: &str = "quorate.block-vote.v1";

/// Proof that `2f + 1` producers of a view hold the same block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// The view.
    pub view: ViewNumber,
    /// The block.
    pub id: BlockId,
    /// Its hash.
    pub hash: Digest,
    /// Who signed, ascending, with their signatures in [`VOTE_DOMAIN`].
    pub signatures: Vec<(NodeIndex, ViewSignature)>,
    /// `ProducerSign`: the member signature of the lowest index in `signatures`.
    pub producer_sign: MemberSignature,
}
