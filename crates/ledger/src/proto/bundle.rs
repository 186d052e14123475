//! Reading a result bundle in either of the reference's two forms.

use prost::Message as _;

use super::{ChangeConsensusReq, ChangeConsensusResp, ChangeConsensusResultBundle};

/// The bytes are a result bundle in neither form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a consensus change result: {0}")]
pub struct BundleError(prost::DecodeError);

/// The later form of the reference (J): no epoch, and the producers in field 4.
#[derive(Clone, PartialEq, prost::Message)]
struct LaterForm {
    #[prost(enumeration = "super::ChangeConsensusResult", tag = "1")]
    result: i32,
    #[prost(message, optional, tag = "2")]
    req: Option<ChangeConsensusReq>,
    #[prost(message, repeated, tag = "3")]
    resps: Vec<ChangeConsensusResp>,
    #[prost(string, repeated, tag = "4")]
    responsed_producers: Vec<String>,
}

impl ChangeConsensusResultBundle {
    /// Reads the bytes in the form of seed 001 (S: field 4 is the epoch, a number) or in the
    /// reference's later form (J: field 4 lists the producers). Field 4's wire type tells which.
    ///
    /// # Errors
    /// [`BundleError`] if the bytes are neither.
    pub fn read(bytes: &[u8]) -> Result<Self, BundleError> {
        let error = match Self::decode(bytes) {
            Ok(bundle) => return Ok(bundle),
            Err(error) => error,
        };
        let later = LaterForm::decode(bytes).map_err(|_| BundleError(error))?;
        Ok(Self {
            result: later.result,
            req: later.req,
            resps: later.resps,
            epoch: 0,
            responsed_producers: later.responsed_producers,
        })
    }
}
