//! What a model's README.md says at its head: the licence. Written by strangers, and read leniently: what is not
//! understood is not there.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// More of a card is not read.
const MOST: u64 = 256 << 10;
/// More lines of its head are not looked at.
const MOST_LINES: usize = 2_000;
/// A longer name of a licence is none.
const LONGEST: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Card {
    /// As the Hub has it: "apache-2.0"; of an own one its name, as far as it says one.
    pub licence: Option<String>,
}

/// The head of the card in a snapshot's folder.
pub fn card(snapshot: &Path) -> Card {
    let path = snapshot.join("README.md");
    let read = || {
        std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
        let mut bytes = Vec::new();
        File::open(&path).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().map(|text| read_card(&text)).unwrap_or_default()
}

fn read_card(text: &str) -> Card {
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    if lines.next().map(str::trim_end) != Some("---") {
        return Card::default();
    }
    let head: Vec<&str> = lines.take(MOST_LINES).take_while(|line| line.trim_end() != "---").collect();
    let value = |key: &str| {
        let at =
            head.iter().position(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))?;
        let inline = head[at][key.len() + 1..].trim();
        // A list has its first entry on the next line, or in brackets.
        let first = if inline.is_empty() { head.get(at + 1)?.trim().strip_prefix("- ")? } else { inline };
        let first = first.trim_start_matches('[').split([',', ']']).next()?;
        let plain = first.split(" #").next()?.trim().trim_matches(['"', '\'']).trim();
        let fine = !plain.is_empty() && plain.len() <= LONGEST && !plain.contains(char::is_control);
        fine.then(|| plain.to_owned())
    };
    let licence = value("license").filter(|l| !matches!(l.as_str(), "|" | ">" | "null" | "~"));
    // "other" says nothing; its name does.
    let own = if licence.as_deref() == Some("other") { value("license_name") } else { None };
    Card { licence: own.or(licence) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_licence_stands_in_the_head_of_the_card() {
        for (text, licence) in [
            ("---\nlicense: apache-2.0\n---\n# Title", Some("apache-2.0")),
            ("\u{feff}---\r\nlanguage:\r\n- en\r\nlicense: \"mit\"\r\n---\r\n", Some("mit")),
            ("---\nlicense:\n- bsd-3-clause\n- mit\n---", Some("bsd-3-clause")),
            ("---\nlicense: [mit, gpl-3.0]\n---", Some("mit")),
            ("---\nlicense: other\nlicense_name: qwen\nlicense_link: x\n---", Some("qwen")),
            ("---\nlicense: other\n---", Some("other")),
            ("---\nlicense: llama3.3 # as it says\n---", Some("llama3.3")),
            ("---\nlicense: mit", Some("mit")),
            // Not at the top, not in the head, not understood, no head at all.
            ("---\nbase:\n  license: mit\n---", None),
            ("---\na: b\n---\nlicense: mit", None),
            ("---\nlicense:\n---", None),
            ("---\nlicense: |\n---", None),
            ("license: mit", None),
            ("", None),
            ("---", None),
            ("---\nlicense: a\u{1b}[2Jb\n---", None),
        ] {
            assert_eq!(read_card(text).licence.as_deref(), licence, "{text:?}");
        }
        assert_eq!(read_card(&format!("---\nlicense: {}\n---", "x".repeat(5_000))).licence, None);
    }

    proptest::proptest! {
        #[test]
        fn no_card_upsets_it(text in "(---\n)?[ \\[\\]\"'#:a-c\n-]{0,60}(license:)?[ \\[\\]\"',\n-]{0,30}") {
            let _ = read_card(&text);
        }
    }
}
