//! What goes wrong in a command, what to do about it, and the exit code.

use std::path::Path;

use serde_json::{Map, Value, json};

/// Kinds of failure, each with an exit code of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A check did not hold, or something that was waited for did not happen (1).
    Failed,
    /// The command line or an input file is wrong (2, as clap's own).
    Usage,
    /// No node answers (3).
    Unreachable,
    /// The node answered, and refused (4).
    Refused,
    /// Stopped by a signal (130, as a shell would say).
    Interrupted,
}

impl Kind {
    /// The exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Refused => 4,
            Self::Interrupted => 130,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// Kind, for the exit code.
    pub kind: Kind,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// What is known nevertheless: written into the JSON object beside the error.
    pub partial: Map<String, Value>,
}

impl CliError {
    /// An error of a kind.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, partial: Map::new() }
    }

    /// A check that did not hold.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// A wrong input.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A file that cannot be read or written.
    #[must_use]
    pub fn file(what: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::usage(format!("cannot {what} {}: {error}", path.display()))
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what is known nevertheless.
    #[must_use]
    pub fn with(mut self, partial: Value) -> Self {
        if let Value::Object(map) = partial {
            self.partial.extend(map);
        }
        self
    }

    /// The JSON object of the error.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = self.partial.clone();
        let mut error = json!({ "code": self.kind.name(), "message": self.message });
        if let Some(hint) = &self.hint {
            error["hint"] = json!(hint);
        }
        object.insert("error".into(), error);
        Value::Object(object)
    }
}

/// Result of a command.
pub type Result<T, E = CliError> = std::result::Result<T, E>;
