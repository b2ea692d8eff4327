//! A `.env` file: names and values with their lines. Nothing is run, and no variable of this machine is read.

use crate::interpolate::interpolate;
use crate::report::{MOST_BYTES, is_mark, quoted};
use crate::{ImportError, SourceFile};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) line: u32,
    /// It holds `$(…)` or a backtick, which are letters here.
    pub(crate) command: bool,
}

/// The variables in the file's order; of a name that is there twice, the last one.
///
/// # Errors
/// Names the line that cannot be read, never what stands in it.
pub(crate) fn read(file: &SourceFile) -> Result<Vec<Variable>, ImportError> {
    if file.text.len() > MOST_BYTES {
        return Err(ImportError {
            message: format!("{} is larger than a megabyte.", quoted(&file.name)),
            next: "Give the .env file itself.".to_owned(),
        });
    }
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    let mut lines = Lines { name: &file.name, chars: text.chars().collect(), at: 0, line: 1 };
    let mut variables: Vec<Variable> = Vec::new();
    while let Some(entry) = lines.entry()? {
        let value = if entry.literal {
            entry.value
        } else {
            let known = |name: &str| variables.iter().find(|v| v.name == name).map(|v| v.value.as_str());
            interpolate(&entry.value, &known).map_err(|wrong| {
                let next = "Write a dollar sign that is meant as one in single quotes.";
                lines.fail(
                    entry.line,
                    &format!("the value of {} is not understood, {wrong}", entry.name),
                    next,
                )
            })?
        };
        let command = value.contains("$(") || value.contains('`');
        variables.retain(|v| v.name != entry.name);
        variables.push(Variable { name: entry.name, value, line: entry.line, command });
    }
    Ok(variables)
}

struct Entry {
    name: String,
    value: String,
    line: u32,
    literal: bool,
}

struct Lines<'a> {
    name: &'a str,
    chars: Vec<char>,
    at: usize,
    line: u32,
}

impl Lines<'_> {
    fn fail(&self, line: u32, what: &str, next: &str) -> ImportError {
        ImportError { message: format!("{}, line {line}: {what}.", quoted(self.name)), next: next.to_owned() }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn skip(&mut self, what: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&what) {
            self.next();
        }
    }

    fn rest_of_line(&mut self) -> String {
        let mut rest = String::new();
        while let Some(c) = self.next() {
            if c == '\n' {
                break;
            }
            rest.push(c);
        }
        rest
    }

    fn entry(&mut self) -> Result<Option<Entry>, ImportError> {
        loop {
            self.skip(char::is_whitespace);
            match self.peek() {
                None => return Ok(None),
                Some('#') => {
                    self.rest_of_line();
                }
                Some(_) => break,
            }
        }
        let line = self.line;
        let mut name = self.word();
        if name == "export" && self.peek().is_some_and(|c| c == ' ' || c == '\t') {
            self.skip(|c| c == ' ' || c == '\t');
            name = self.word();
        }
        self.skip(|c| c == ' ' || c == '\t');
        let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !named || self.peek() != Some('=') {
            return Err(self.fail(line, "this is no NAME=value", "Write it so, or put a # before it."));
        }
        self.next();
        self.skip(|c| c == ' ' || c == '\t');
        let (value, literal) = match self.peek() {
            Some('\'') => (self.quoted('\'', line)?, true),
            Some('"') => (self.quoted('"', line)?, false),
            _ => (self.unquoted(), false),
        };
        if value.contains('\0') || value.chars().any(is_mark) {
            return Err(self.fail(
                line,
                "the value holds a character that no program can be given",
                "Remove it.",
            ));
        }
        Ok(Some(Entry { name, value, line, literal }))
    }

    fn word(&mut self) -> String {
        let from = self.at;
        self.skip(|c| c.is_ascii_alphanumeric() || c == '_');
        self.chars[from..self.at].iter().collect()
    }

    fn unquoted(&mut self) -> String {
        let rest = self.rest_of_line();
        let rest = rest.trim_end_matches('\r');
        // A # begins a comment behind a space, or where the value would begin.
        let mut before = ' ';
        let end = rest.char_indices().find(|(_, c)| {
            let comment = *c == '#' && (before == ' ' || before == '\t');
            before = *c;
            comment
        });
        rest[..end.map_or(rest.len(), |(at, _)| at)].trim().to_owned()
    }

    fn quoted(&mut self, quote: char, line: u32) -> Result<String, ImportError> {
        self.next();
        let mut value = String::new();
        loop {
            match self.next() {
                None => {
                    return Err(self.fail(line, "the quote that begins here does not end", "Close it."));
                }
                Some(c) if c == quote => break,
                // A line's end is one character, whatever wrote the file.
                Some('\r') if self.peek() == Some('\n') => {}
                Some('\\') if quote == '"' => match self.next() {
                    Some('n') => value.push('\n'),
                    Some('r') => value.push('\r'),
                    Some('t') => value.push('\t'),
                    Some(c @ ('"' | '\\' | '\'')) => value.push(c),
                    Some('$') => value.push_str("$$"),
                    Some(c) => value.extend(['\\', c]),
                    None => {}
                },
                Some(c) => value.push(c),
            }
        }
        let rest = self.rest_of_line();
        let rest = rest.trim();
        if !(rest.is_empty() || rest.starts_with('#')) {
            return Err(self.fail(
                line,
                "something follows the closing quote",
                "Put the whole value in quotes.",
            ));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn of(text: &str) -> Vec<(String, String, u32)> {
        let file = SourceFile { name: ".env".into(), text: text.into() };
        read(&file).expect("readable").into_iter().map(|v| (v.name, v.value, v.line)).collect()
    }

    #[test]
    fn every_way_to_write_a_value_is_read() {
        let text = "\u{feff}# first\r\nA=1\r\nexport B = two # why\r\nC='a $A #b' # c\r\nD=\"x\\ty\\\"${A}\\$A\"\r\n\
                    E=a#b\r\nF=\r\nG=\"one\r\ntwo\"\r\nH=${A}-${B}\r\nA=3\r\nI= # nothing\r\n";
        let wanted = [
            ("B", "two", 3),
            ("C", "a $A #b", 4),
            ("D", "x\ty\"1$A", 5),
            ("E", "a#b", 6),
            ("F", "", 7),
            ("G", "one\ntwo", 8),
            ("H", "1-two", 10),
            ("A", "3", 11),
            ("I", "", 12),
        ];
        let wanted: Vec<_> = wanted.iter().map(|(n, v, l)| ((*n).to_owned(), (*v).to_owned(), *l)).collect();
        assert_eq!(of(text), wanted);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_not_shown() {
        for (text, line) in [
            ("A=1\nnot a line", 2),
            ("A=1\n=2", 2),
            ("A=\"hidden", 1),
            ("A='hidden' hidden", 1),
            ("A=${hidden", 1),
            ("1A=2", 1),
        ] {
            let file = SourceFile { name: ".env".into(), text: text.into() };
            let error = read(&file).expect_err("must be refused");
            assert!(error.message.contains(&format!("line {line}")), "{text}: {error}");
            assert!(!error.message.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn a_value_that_doubles_itself_is_refused() {
        let mut text = format!("A0={}\n", "x".repeat(1000));
        for i in 1..20 {
            let _ = writeln!(text, "A{i}=${{A{0}}}${{A{0}}}", i - 1);
        }
        let file = SourceFile { name: ".env".into(), text };
        assert!(read(&file).is_err());
    }
}
