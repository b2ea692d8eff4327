//! Whether a document has the stack file's shape: unknown keys and values of the wrong type, all of them, each with
//! its place. What the values mean is checked by `domain`.

use std::ops::Range;

use toml_edit::{Item, TableLike, Value};

use super::keys::{Key, STACK, Shape};

/// Something wrong at a place of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) span: Option<Range<usize>>,
    pub(super) message: String,
    pub(super) next: String,
}

pub(super) fn check(root: &dyn TableLike) -> Vec<Finding> {
    let mut findings = Vec::new();
    table(root, STACK, "", &mut findings);
    // In the order of the file, as a person goes through it.
    findings.sort_by_key(|f| f.span.as_ref().map_or(usize::MAX, |s| s.start));
    findings
}

/// `place` is the table's own name, "agents.odin"; empty at the top.
fn table(found: &dyn TableLike, keys: &[Key], place: &str, findings: &mut Vec<Finding>) {
    for (name, item) in found.iter() {
        let Some(known) = keys.iter().find(|k| k.name == name) else {
            findings.push(unknown(name, key_span(found, name), keys, place));
            continue;
        };
        let span = item.span().or_else(|| key_span(found, name));
        value(item, known, &joined(place, name), span, findings);
    }
}

fn value(item: &Item, known: &Key, place: &str, span: Option<Range<usize>>, findings: &mut Vec<Finding>) {
    let fits = match known.shape {
        Shape::Text | Shape::Word(_) => item.is_str(),
        Shape::Integer => item.is_integer(),
        Shape::Number => item.is_float() || item.is_integer(),
        Shape::Flag => item.is_bool(),
        Shape::Size | Shape::Time => item.is_str() || item.is_integer(),
        Shape::Limit => {
            item.is_str()
                || item.is_integer()
                || item.as_table_like().is_some_and(|t| t.iter().all(|(_, i)| i.is_str() || i.is_integer()))
        }
        Shape::Texts => item.as_array().is_some_and(|a| a.iter().all(Value::is_str)),
        Shape::Groups => item
            .as_array()
            .is_some_and(|a| a.iter().all(|g| g.as_array().is_some_and(|g| g.iter().all(Value::is_str)))),
        Shape::Named => item.as_table_like().is_some_and(|t| t.iter().all(|(_, i)| i.is_str())),
        Shape::Table(keys) => {
            if let Some(below) = item.as_table_like() {
                table(below, keys, place, findings);
            }
            item.is_table_like()
        }
        Shape::Tables(keys) => {
            if let Some(below) = item.as_table_like() {
                for (name, item) in below.iter() {
                    let place = joined(place, name);
                    if let Some(found) = item.as_table_like() {
                        table(found, keys, &place, findings);
                    } else {
                        findings.push(Finding {
                            span: key_span(below, name),
                            message: format!("`{place}` must be a table, and is {}.", kind(item)),
                            next: format!("Write [{place}] and its keys on the lines below."),
                        });
                    }
                }
            }
            item.is_table_like()
        }
    };
    if !fits {
        findings.push(Finding {
            span,
            message: format!(
                "`{}` {} must be {}, and is {}.",
                known.name,
                within(place),
                known.shape.wanted(),
                kind(item)
            ),
            next: format!("Write {} = {}.", known.name, known.shape.example())
                .replace("= a table, [name],", "as a table"),
        });
    }
}

fn unknown(name: &str, span: Option<Range<usize>>, keys: &[Key], place: &str) -> Finding {
    let table = if place.is_empty() { "at the top of the file".to_owned() } else { format!("in [{place}]") };
    let meant = closest(name, keys.iter().map(|k| k.name));
    let (hint, next) = if let Some(meant) = meant {
        (format!("; did you mean `{meant}`?"), format!("Write {meant} instead, or take the line out."))
    } else {
        let known: Vec<&str> = keys.iter().map(|k| k.name).collect();
        (".".to_owned(), format!("Take the line out; the keys known here are {}.", known.join(", ")))
    };
    Finding { span, message: format!("unknown key `{}` {table}{hint}", shown(name)), next }
}

/// Where a key is written.
pub(super) fn key_span(table: &dyn TableLike, name: &str) -> Option<Range<usize>> {
    table.key(name).and_then(toml_edit::Key::span)
}

fn joined(place: &str, name: &str) -> String {
    let name = shown(name);
    if place.is_empty() { name } else { format!("{place}.{name}") }
}

/// "in [agents.odin]" for the place of a key of that table.
fn within(place: &str) -> String {
    place
        .rsplit_once('.')
        .map_or_else(|| "at the top of the file".to_owned(), |(table, _)| format!("in [{table}]"))
}

/// A name from the file, fit for a sentence: short and on one line.
fn shown(name: &str) -> String {
    let mut text: String =
        name.chars().take(40).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if name.chars().nth(40).is_some() {
        text.push('…');
    }
    text
}

fn kind(item: &Item) -> &'static str {
    match item {
        Item::None => "missing",
        Item::Table(_) => "a table",
        Item::ArrayOfTables(_) => "a list of tables",
        Item::Value(value) => match value {
            Value::String(_) => "a text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number with a fraction",
            Value::Boolean(_) => "true or false",
            Value::Datetime(_) => "a date",
            Value::Array(_) => "a list",
            Value::InlineTable(_) => "a table",
        },
    }
}

/// The known word that is nearest to `word`, if it is near enough to have been meant.
pub(super) fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length > 40 {
        return None;
    }
    known
        .map(|k| (distance(word, k), k))
        .filter(|(d, k)| *d <= 1 + k.len().min(length) / 4)
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// How many letters must be changed, added, taken out or swapped with their neighbour to turn one into the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (fold(a), fold(b));
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let mut best = (rows[i][j + 1] + 1).min(row[j] + 1).min(rows[i][j] + usize::from(ca != cb));
            if i > 0 && j > 0 && *ca == b[j - 1] && a[i - 1] == *cb {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// `kv-cache`, `kvCache` and `kv_cache` are the same word to a person.
fn fold(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}
