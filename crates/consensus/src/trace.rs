//! What a transition tells a reader: the line of the protocol text it follows, and a few words.

use std::fmt;

/// One readable event. `line` is the label of the rule in the protocol text at the top of the
/// protocol's module (for example `RBC-3`).
#[derive(Debug)]
pub struct Trace {
    /// Label of the rule.
    pub line: &'static str,
    /// What happened.
    pub text: Text,
}

/// A few words, formatted whenever somebody reads them.
pub struct Text(Box<dyn Fn() -> String + Send + Sync>);

impl Trace {
    /// A trace event. Few are read, so `text` is called by readers alone.
    pub fn new(line: &'static str, text: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { line, text: Text(Box::new(text)) }
    }

    /// A trace event in words that are there already.
    #[must_use]
    pub fn said(line: &'static str, text: String) -> Self {
        Self::new(line, move || text.clone())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&(self.0)())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
