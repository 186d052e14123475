//! Block votes and certificates: who signed, and the producers' signatures over a block hash.
//!
//! A producer votes once it has the block of a decision; `2f + 1` votes of one view make the
//! certificate, of which at least `f + 1` are by correct producers. Signatures are over the block
//! hash, which covers group, view and block id.

use std::collections::BTreeMap;

use quorate_crypto::hash::Digest;
use quorate_crypto::member::{MemberKey, MemberSignature};
use quorate_crypto::threshold::NodeIndex;
use quorate_crypto::view::{ViewKey, ViewSignature, verify_batch};
use serde::{Deserialize, Serialize};

use crate::block::BlockHeader;
use crate::codec::{Canonical, CodecError, Reader, Writer};
use crate::ids::{BlockId, ViewNumber};
use crate::mutants::{Mutant, mutated};
use crate::view::{MAX_COMMITTEE, View, certificate_quorum};

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

impl BlockVote {
    /// Votes for a block.
    #[must_use]
    pub fn sign(
        header: &BlockHeader,
        voter: NodeIndex,
        view_key: &ViewKey,
        member_key: &MemberKey,
    ) -> Self {
        let hash = header.hash();
        Self {
            view: header.view,
            id: header.id,
            hash,
            voter,
            view_sign: view_key.sign(VOTE_DOMAIN, &hash),
            member_sign: member_key.sign(&hash),
        }
    }

    /// Whether both signatures are by this producer of `view`. Whether the hash is the block's, the
    /// caller must compare with a block it has.
    #[must_use]
    pub fn verify(&self, view: &View) -> bool {
        self.view == view.number
            && view.producer(self.voter).is_some_and(|producer| {
                producer.view_key.verify(VOTE_DOMAIN, &self.hash, &self.view_sign)
                    && producer.member.verify(&self.hash, &self.member_sign.0)
            })
    }
}

impl Canonical for BlockVote {
    const MAX_BYTES: usize = 1 + 8 + 8 + 32 + 2 + 64 + 65;

    fn write(&self, writer: &mut Writer) {
        self.view.write(writer);
        self.id.write(writer);
        self.hash.write(writer);
        writer.u16(self.voter.0);
        self.view_sign.write(writer);
        self.member_sign.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            view: ViewNumber::read(reader)?,
            id: BlockId::read(reader)?,
            hash: Digest::read(reader)?,
            voter: NodeIndex(reader.u16()?),
            view_sign: ViewSignature::read(reader)?,
            member_sign: MemberSignature::read(reader)?,
        })
    }
}

/// Proof that `2f + 1` producers of a view hold the same block.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "CertificateJson", into = "CertificateJson")]
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

/// Why a certificate is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is of another view.
    #[error("certificate of view {found}, not {expected}")]
    View {
        /// The view it names.
        found: ViewNumber,
        /// The view it was checked against.
        expected: ViewNumber,
    },
    /// It certifies another block.
    #[error("certificate of another block")]
    Block,
    /// Too few signatures.
    #[error("certificate with {have} signatures of {need} needed")]
    TooFew {
        /// Signatures.
        have: usize,
        /// Needed.
        need: usize,
    },
    /// A signer is named twice, out of order, or not in the committee.
    #[error("certificate names wrong signers")]
    Signers,
    /// A signature does not verify.
    #[error("certificate with a wrong signature")]
    Signature,
}

impl Certificate {
    /// Puts a certificate together from votes that were verified ([`BlockVote::verify`]): the
    /// `2f + 1` lowest voters. Votes for another block than the first are left out, as are second
    /// votes of a voter. `None` if that is not enough for a committee of `committee` producers.
    #[must_use]
    pub fn assemble<'a>(
        votes: impl IntoIterator<Item = &'a BlockVote>,
        committee: usize,
    ) -> Option<Self> {
        let mut votes = votes.into_iter();
        let first = votes.next()?;
        let mut by_voter = BTreeMap::from([(first.voter, first)]);
        for vote in votes {
            if (vote.view, vote.id, vote.hash) == (first.view, first.id, first.hash) {
                by_voter.entry(vote.voter).or_insert(vote);
            }
        }
        by_voter.retain(|voter, _| voter.get() < committee);
        let quorum = certificate_quorum(committee);
        if votes_of(by_voter.len()) < quorum {
            return None;
        }
        let lowest = by_voter.first_key_value().map(|(_, vote)| vote.member_sign)?;
        let signers = by_voter.into_iter().take(quorum);
        Some(Self {
            view: first.view,
            id: first.id,
            hash: first.hash,
            signatures: signers.map(|(voter, vote)| (voter, vote.view_sign)).collect(),
            producer_sign: lowest,
        })
    }

    /// Checks that enough distinct producers of `view` signed the hash, and that `ProducerSign` is
    /// the first one's. That the hash is the block's is checked by [`Certificate::certifies`].
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify(&self, view: &View) -> Result<(), CertificateError> {
        if self.view != view.number {
            let (found, expected) = (self.view, view.number);
            return Err(CertificateError::View { found, expected });
        }
        let have = votes_of(self.signatures.len());
        let need = certificate_quorum(view.producers.len());
        if have < need {
            return Err(CertificateError::TooFew { have, need });
        }
        if !ascending(&self.signatures) {
            return Err(CertificateError::Signers);
        }
        let mut items = Vec::with_capacity(have);
        for (index, signature) in &self.signatures {
            let producer = view.producer(*index).ok_or(CertificateError::Signers)?;
            items.push((producer.view_key, VOTE_DOMAIN, self.hash, *signature));
        }
        let lowest = self.signatures.first().and_then(|(index, _)| view.producer(*index));
        let shown = lowest.is_some_and(|p| p.member.verify(&self.hash, &self.producer_sign.0));
        if shown && verify_batch(&items) { Ok(()) } else { Err(CertificateError::Signature) }
    }

    /// Checks that this certifies the block with this header in `view`.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn certifies(&self, header: &BlockHeader, view: &View) -> Result<(), CertificateError> {
        let named = (header.group, header.view, header.id, header.hash());
        if named != (view.group, self.view, self.id, self.hash) {
            return Err(CertificateError::Block);
        }
        self.verify(view)
    }
}

/// Votes of so many distinct signers: one each.
fn votes_of(signers: usize) -> usize {
    if mutated(Mutant::SignerCountedTwice) { signers * 2 } else { signers }
}

fn ascending(signatures: &[(NodeIndex, ViewSignature)]) -> bool {
    signatures.windows(2).all(|pair| pair[0].0 < pair[1].0)
}

impl Canonical for Certificate {
    const MAX_BYTES: usize = 1 + 8 + 8 + 32 + 4 + MAX_COMMITTEE * (2 + 64) + 65;

    fn write(&self, writer: &mut Writer) {
        self.view.write(writer);
        self.id.write(writer);
        self.hash.write(writer);
        writer.list(&self.signatures, |writer, (index, signature)| {
            writer.u16(index.0);
            signature.write(writer);
        });
        self.producer_sign.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let certificate = Self {
            view: ViewNumber::read(reader)?,
            id: BlockId::read(reader)?,
            hash: Digest::read(reader)?,
            signatures: reader.list("signatures", MAX_COMMITTEE, |reader| {
                Ok((NodeIndex(reader.u16()?), ViewSignature::read(reader)?))
            })?,
            producer_sign: MemberSignature::read(reader)?,
        };
        if ascending(&certificate.signatures) {
            Ok(certificate)
        } else {
            Err(CodecError::Invalid("signers"))
        }
    }
}

/// JSON form of a [`Certificate`]: hashes and signatures in hexadecimal.
#[derive(Serialize, Deserialize)]
struct CertificateJson {
    view: ViewNumber,
    id: BlockId,
    hash: Digest,
    signatures: Vec<SignatureJson>,
    producer_sign: String,
}

#[derive(Serialize, Deserialize)]
struct SignatureJson {
    producer: u16,
    signature: ViewSignature,
}

impl From<Certificate> for CertificateJson {
    fn from(certificate: Certificate) -> Self {
        let signatures = certificate.signatures.into_iter();
        Self {
            view: certificate.view,
            id: certificate.id,
            hash: certificate.hash,
            signatures: signatures
                .map(|(index, signature)| SignatureJson { producer: index.0, signature })
                .collect(),
            producer_sign: hex::encode(certificate.producer_sign.0),
        }
    }
}

impl TryFrom<CertificateJson> for Certificate {
    type Error = CodecError;

    fn try_from(json: CertificateJson) -> Result<Self, CodecError> {
        let mut producer_sign = [0; 65];
        hex::decode_to_slice(&json.producer_sign, &mut producer_sign)
            .map_err(|_| CodecError::Invalid("producer_sign"))?;
        let signatures = json.signatures.into_iter();
        let certificate = Self {
            view: json.view,
            id: json.id,
            hash: json.hash,
            signatures: signatures.map(|s| (NodeIndex(s.producer), s.signature)).collect(),
            producer_sign: MemberSignature(producer_sign),
        };
        if ascending(&certificate.signatures) && certificate.signatures.len() <= MAX_COMMITTEE {
            Ok(certificate)
        } else {
            Err(CodecError::Invalid("signers"))
        }
    }
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
