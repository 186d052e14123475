//! What a transition tells a reader: the line of the protocol text it follows, and a few words.

/// One readable event. `line` is the label of the rule in the protocol text at the top of the
/// protocol's module (for example `RBC-3`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// Label of the rule.
    pub line: &'static str,
    /// What happened.
    pub text: String,
}

impl Trace {
    /// A trace event.
    pub fn new(line: &'static str, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }
}
