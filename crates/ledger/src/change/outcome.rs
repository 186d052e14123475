//! How a change ends, and why a part of one is refused.

use std::fmt;
use std::str::FromStr;

use quorate_crypto::keygen::KeygenError;
use quorate_crypto::member::MemberPublicKey;

use crate::proto::ChangeConsensusResult;

/// How a change ended, with the texts of the API.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ChangeResult {
    /// All participants agreed; the new view follows.
    Success,
    /// A participant's proof was wrong; nothing changes.
    Failed,
    /// The agreement rounds were used up; nothing changes.
    Timeout,
}

impl ChangeResult {
    /// The API's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
            Self::Timeout => "TIMEOUT",
        }
    }
}

impl fmt::Display for ChangeResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads the API's text; the reference's `FAIL` too.
impl FromStr for ChangeResult {
    type Err = ChangeError;

    fn from_str(text: &str) -> Result<Self, ChangeError> {
        match text {
            "SUCCESS" => Ok(Self::Success),
            "FAILED" | "FAIL" => Ok(Self::Failed),
            "TIMEOUT" => Ok(Self::Timeout),
            _ => Err(ChangeError::Field("result")),
        }
    }
}

impl From<ChangeConsensusResult> for ChangeResult {
    fn from(result: ChangeConsensusResult) -> Self {
        match result {
            ChangeConsensusResult::Success => Self::Success,
            ChangeConsensusResult::Fail => Self::Failed,
            ChangeConsensusResult::Timeout => Self::Timeout,
        }
    }
}

impl From<ChangeResult> for ChangeConsensusResult {
    fn from(result: ChangeResult) -> Self {
        match result {
            ChangeResult::Success => Self::Success,
            ChangeResult::Failed => Self::Fail,
            ChangeResult::Timeout => Self::Timeout,
        }
    }
}

/// Why a request, response or bundle is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// A field is missing or has a value it cannot have.
    #[error("consensus change: wrong {0}")]
    Field(&'static str),
    /// It belongs to another group.
    #[error("consensus change of another group")]
    Group,
    /// The request is not the owner's.
    #[error("consensus change: the request is not by the group's owner")]
    NotOwner,
    /// The producer list is empty, too long, or names a producer twice.
    #[error("consensus change: {0}")]
    Producers(&'static str),
    /// The hash of the request or of a response is not its own.
    #[error("consensus change: the hash of the {0} differs")]
    Hash(&'static str),
    /// The signature of the request or of a response is not by its sender.
    #[error("consensus change: the signature of the {0} is not valid")]
    Signature(&'static str),
    /// A response answers another request.
    #[error("consensus change: {0} answers another request")]
    OtherRequest(MemberPublicKey),
    /// A response is by nobody who takes part.
    #[error("consensus change: {0} does not take part")]
    NotParticipant(String),
    /// A participant answered twice.
    #[error("consensus change: {0} answered twice")]
    Twice(MemberPublicKey),
    /// A participant did not answer, though the result is SUCCESS.
    #[error("consensus change: {0} did not answer")]
    Unanswered(MemberPublicKey),
    /// The list of those who answered is not that of the responses.
    #[error("consensus change: ResponsedProducers does not name the responses")]
    Responders,
    /// A producer brings no usable key material, or somebody else brings some.
    #[error("consensus change: {0} brings wrong key material")]
    KeyMaterial(MemberPublicKey),
    /// No joint key comes from the dealer logs.
    #[error(transparent)]
    Keygen(#[from] KeygenError),
    /// The change did not succeed, so it makes no view.
    #[error("consensus change: the result is {0}")]
    NoSuccess(ChangeResult),
}
