//! Receipts: proof that a trx is in a certified block, checkable offline.
//!
//! Trx, inclusion path, block header, certificate; the view that certifies comes from the view
//! chain, which leads back to the genesis block.

use prost::Message as _;
use quorate_crypto::hash::Digest;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::Threshold;
use serde::{Deserialize, Serialize};

use crate::block::{Block, BlockHeader, trx_tree};
use crate::certificate::{Certificate, CertificateError};
use crate::codec::{Canonical, CodecError, Reader, Writer};
use crate::ids::{TrxId, ViewNumber};
use crate::merkle;
use crate::proto::Trx;
use crate::trx::{self, MAX_TRX, TrxError};
use crate::view::{ChainError, View, ViewChain};

/// Proof that a trx is in a certified block. The view is the header's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The trx.
    pub trx: Trx,
    /// Its place in the block.
    pub index: u32,
    /// Siblings from the trx up to the header's `trx_root`.
    pub path: Vec<Digest>,
    /// The block's header.
    pub header: BlockHeader,
    /// Who agreed to the block.
    pub certificate: Certificate,
}

/// Why a receipt does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The trx itself is wrong.
    #[error("receipt: {0}")]
    Trx(#[from] TrxError),
    /// The path does not lead from the trx to the header's root.
    #[error("receipt: the trx is not in the block")]
    Path,
    /// The certificate does not hold for the header.
    #[error("receipt: {0}")]
    Certificate(#[from] CertificateError),
    /// The block is not one that the view made.
    #[error("receipt: the block lies outside view {0}")]
    OutsideView(ViewNumber),
    /// There is no such view in the chain.
    #[error("receipt: view {0} is not in the view chain")]
    UnknownView(ViewNumber),
    /// The view chain does not hold.
    #[error("receipt: {0}")]
    Chain(#[from] Box<ChainError>),
}

impl Receipt {
    /// The receipt of a trx in a block; `None` if it is not there.
    #[must_use]
    pub fn new(block: &Block, certificate: &Certificate, id: TrxId) -> Option<Self> {
        let index = block.trxs.iter().position(|trx| trx.id() == Some(id))?;
        Some(Self {
            trx: block.trxs[index].clone(),
            index: u32::try_from(index).ok()?,
            path: trx_tree(&block.trxs).proof(index)?,
            header: block.header.clone(),
            certificate: certificate.clone(),
        })
    }

    /// View that certified the block.
    #[must_use]
    pub const fn view_number(&self) -> ViewNumber {
        self.header.view
    }

    /// Checks everything against the view that made the block.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn verify(&self, view: &View) -> Result<(), ReceiptError> {
        trx::check(&self.trx, view.group, trx::Limits::REFERENCE)?;
        let leaf = self.trx.encode_to_vec();
        let (index, count) = (self.index as usize, self.header.trx_count as usize);
        if !merkle::verify(&self.header.trx_root, &leaf, index, count, &self.path) {
            return Err(ReceiptError::Path);
        }
        self.certificate.certifies(&self.header, view)?;
        if self.header.id <= view.parent.0 {
            return Err(ReceiptError::OutsideView(view.number));
        }
        Ok(())
    }

    /// Checks everything against a group's verified views, in order from view 0.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn verify_among(&self, views: &[View]) -> Result<(), ReceiptError> {
        let number = self.header.view;
        let place = usize::try_from(number.0).ok();
        let view = place
            .and_then(|place| views.get(place))
            .filter(|view| view.number == number)
            .ok_or(ReceiptError::UnknownView(number))?;
        self.verify(view)?;
        // A view's last block is the one the next view names as its parent.
        let (id, hash) = (self.header.id, self.certificate.hash);
        match place.and_then(|place| views.get(place + 1)) {
            Some(next) if id > next.parent.0 || (id == next.parent.0 && hash != next.parent.1) => {
                Err(ReceiptError::OutsideView(number))
            }
            _ => Ok(()),
        }
    }

    /// Checks everything back to the genesis block. To check many receipts, verify the chain once
    /// and use [`Receipt::verify_among`].
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn verify_in_chain<G>(&self, chain: &ViewChain) -> Result<(), ReceiptError>
    where
        G: KeyGeneration,
        G::Keys: Threshold,
    {
        let views = chain.verify::<G>().map_err(Box::new)?;
        self.verify_among(&views)
    }
}

impl Canonical for Receipt {
    const MAX_BYTES: usize = 1
        + 4
        + MAX_TRX
        + 4
        + 4
        + 32 * merkle::MAX_PATH
        + BlockHeader::MAX_BYTES
        + Certificate::MAX_BYTES;

    fn write(&self, writer: &mut Writer) {
        self.trx.write(writer);
        writer.u32(self.index);
        writer.list(&self.path, |writer, sibling| sibling.write(writer));
        self.header.write(writer);
        self.certificate.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            trx: Trx::read(reader)?,
            index: reader.u32()?,
            path: reader.list("path", merkle::MAX_PATH, Digest::read)?,
            header: BlockHeader::read(reader)?,
            certificate: Certificate::read(reader)?,
        })
    }
}

#[cfg(test)]
#[path = "receipt_tests.rs"]
mod tests;
