//! Standard output: one JSON object, or tables and sentences. Progress goes to standard error.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use crate::args::Format;
use crate::error::CliError;

/// What a command has to say at its end.
#[derive(Clone, Debug)]
pub struct Report {
    /// For programs.
    pub value: Value,
    /// For people.
    pub human: String,
}

impl Report {
    /// A report.
    #[must_use]
    pub fn new(value: Value, human: impl Into<String>) -> Self {
        Self { value, human: human.into() }
    }

    /// A report without its own words for people: the pretty JSON.
    #[must_use]
    pub fn plain(value: Value) -> Self {
        let human = pretty(&value);
        Self { value, human }
    }

    /// Writes it.
    pub fn print(&self, format: Format) {
        match format {
            Format::Human => print_line(&self.human),
            Format::Json => print_line(&self.value.to_string()),
        }
    }
}

/// Writes an error: to standard error for people, as the one object on standard output for programs.
pub fn print_error(error: &CliError, format: Format) {
    match format {
        Format::Human => {
            print_note(&format!("error: {}", error.message));
            if let Some(hint) = &error.hint {
                print_note(&format!("  try: {hint}"));
            }
        }
        Format::Json => print_line(&error.to_json().to_string()),
    }
}

/// Writes a line to standard output. A reader that went away is no failure of ours.
pub fn print_line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes a line to standard error.
pub fn print_note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// JSON with line breaks.
#[must_use]
pub fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a JSON value can be written")
}

/// A table with these headings.
#[must_use]
pub fn table<const N: usize>(headings: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headings);
    table
}

/// A text field of an object, or "" if there is none.
#[must_use]
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A field of an object as people read it.
#[must_use]
pub fn show(value: &Value, key: &str) -> String {
    match value.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A progress bar on standard error; invisible if that is no terminal.
#[must_use]
pub fn progress(length: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), target());
    bar.set_style(
        ProgressStyle::with_template("{msg:28} {bar:40} {pos}/{len} {elapsed}")
            .expect("the template is correct"),
    );
    bar.set_message(what.to_owned());
    bar
}

/// A spinner on standard error; invisible if that is no terminal.
#[must_use]
pub fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target());
    bar.set_style(
        ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("the template is correct"),
    );
    bar.set_message(what.to_owned());
    if std::io::stderr().is_terminal() {
        bar.enable_steady_tick(Duration::from_millis(100));
    }
    bar
}

fn target() -> ProgressDrawTarget {
    if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}
