//! What the tests of this crate share.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fmt::Write as _;
use std::path::Path;

use domain::stack::raw::RawStack;
use domain::stack::{self, Stack};
use exchange::{Finding, Import, SourceFile};

/// A file of the fixtures. A `.env` is called so, whatever it is called here.
pub(crate) fn fixture(folder: &str, name: &str) -> SourceFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder).join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let name = if name == "strix.env" { ".env" } else { name };
    SourceFile { name: name.to_owned(), text }
}

/// The stack of this text, which passes the check.
pub(crate) fn resolved(text: &str) -> Stack {
    let raw: RawStack = toml_edit::de::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    stack::resolve(&raw, &stack::Facts::default()).unwrap_or_else(|e| panic!("{e:#?}\n{text}"))
}

/// An import as a person would read it.
#[allow(dead_code, reason = "not every test file shows one")]
pub(crate) fn report(import: &Import) -> String {
    let mut text = import.stack.clone();
    let mut part = |title: &str, findings: &[Finding]| {
        let _ = writeln!(text, "\n== {title}");
        for f in findings {
            let line = f.line.map(|l| format!(":{l}")).unwrap_or_default();
            let agent = f.agent.as_deref().map(|a| format!(" [{a}]")).unwrap_or_default();
            let _ = writeln!(text, "{}{line}{agent} {}: {}", f.file, f.what, f.message);
        }
    };
    part("Corrected", &import.corrected);
    part("Not understood", &import.not_understood);
    part("Understood", &import.understood);
    let _ = writeln!(text, "\n== Secrets");
    for (name, _) in &import.secrets {
        let _ = writeln!(text, "{name}");
    }
    text
}
