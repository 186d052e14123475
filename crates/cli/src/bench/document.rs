//! Sections of a Markdown file that a benchmark writes, between two comments that mark them.

use std::path::Path;

use crate::error::{CliError, Result};

/// Writes a section: in place of the one of that name, or at the end.
pub fn write_section(path: &Path, name: &str, body: &str) -> Result<()> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => "# Benchmarks\n".to_owned(),
        Err(e) => return Err(CliError::file("read", path, &e)),
    };
    std::fs::write(path, replaced(&text, name, body)).map_err(|e| CliError::file("write", path, &e))
}

fn replaced(text: &str, name: &str, body: &str) -> String {
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let section = format!("{begin}\n{}\n{end}", body.trim());
    let place = text.find(&begin).and_then(|from| {
        let to = text[from..].find(&end)?;
        Some((from, from + to + end.len()))
    });
    match place {
        Some((from, to)) => format!("{}{section}{}", &text[..from], &text[to..]),
        None => format!("{}\n\n{section}\n", text.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn a_section_is_added_once_and_replaced_after() {
        let first = replaced("# Title\n", "load", "one");
        assert_eq!(first, "# Title\n\n<!-- begin load -->\none\n<!-- end load -->\n");
        let second = replaced(&first, "load", "two");
        assert_eq!(second, first.replace("one", "two"));
        let other = replaced(&second, "idle", "three");
        assert!(other.contains("two") && other.ends_with("three\n<!-- end idle -->\n"));
    }
}
