//! The text as pieces: tables with what belongs to them, and what stands between.
//!
//! A comment directly above a table's header is the table's, and so is one directly below its last key. What blank
//! lines part from both belongs to the place: it stays where it is when tables change places, and when one goes.

use std::ops::Range;

use serde_json::Value as Json;
use toml_edit::{Document, DocumentMut, InlineTable, Item, Key, Table, TableLike, Value};

use super::{Result, alone, parse, parse_mut, values, wrong};

struct Piece {
    path: Vec<String>,
    text: String,
    /// What follows before the next piece: blank lines, and comments that stand apart.
    gap: String,
}

struct Pieces {
    intro: String,
    tables: Vec<Piece>,
}

impl Pieces {
    fn of(text: &str) -> Result<Self> {
        let document = parse(text)?;
        let mut found = Found::default();
        found.walk(document.as_table(), &mut Vec::new());
        found.headers.sort_by_key(|(span, _)| span.start);
        let starts: Vec<usize> = found.headers.iter().map(|(span, _)| line_start(text, span.start)).collect();
        let end_of = |n: usize| starts.get(n).copied().unwrap_or(text.len());

        let (body, gap, mut head) = found.split(text, 0..end_of(0), 0, !starts.is_empty());
        let intro = format!("{body}{gap}");
        let mut tables = Vec::new();
        for (n, (span, path)) in found.headers.iter().enumerate() {
            let region = end_of(n)..end_of(n + 1);
            let (body, gap, next) = found.split(text, region, span.end, n + 1 < starts.len());
            tables.push(Piece { path: path.clone(), text: format!("{head}{body}"), gap: gap.to_owned() });
            head = next;
        }
        Ok(Self { intro, tables })
    }

    fn whole(self) -> String {
        self.tables.into_iter().fold(self.intro, |text, piece| text + &piece.text + &piece.gap)
    }

    fn remove(&mut self, path: &[&str]) {
        while let Some(at) = self.tables.iter().position(|p| starts_with(&p.path, path)) {
            let gone = self.tables.remove(at);
            let last = at == self.tables.len();
            let before = match at.checked_sub(1).and_then(|n| self.tables.get_mut(n)) {
                Some(piece) => &mut piece.gap,
                None => &mut self.intro,
            };
            let blank = gone.gap.trim().is_empty();
            if last && blank && before.trim().is_empty() {
                *before = gone.gap;
            } else if !blank {
                let parted = before.ends_with("\n\n") || before.trim().is_empty() && !before.is_empty();
                before.push_str(if parted { gone.gap.trim_start_matches('\n') } else { &gone.gap });
            }
        }
    }

    /// Behind the last table for which `is` holds, else at the end.
    fn insert(&mut self, new: String, is: impl Fn(&Piece) -> bool) {
        let at = self.tables.iter().rposition(is).or_else(|| self.tables.len().checked_sub(1));
        let piece = |gap| Piece { path: Vec::new(), text: new, gap };
        if let Some((at, before)) = at.and_then(|at| Some((at, self.tables.get_mut(at)?))) {
            let gap = std::mem::replace(&mut before.gap, "\n".to_owned());
            self.tables.insert(at + 1, piece(gap));
        } else {
            if !self.intro.is_empty() && !self.intro.ends_with("\n\n") {
                self.intro.push('\n');
            }
            self.tables.push(piece(String::new()));
        }
    }
}

#[derive(Default)]
struct Found {
    headers: Vec<(Range<usize>, Vec<String>)>,
    /// Where values end.
    ends: Vec<usize>,
}

impl Found {
    fn walk(&mut self, table: &Table, path: &mut Vec<String>) {
        for (name, item) in table {
            path.push(name.to_owned());
            match item {
                Item::Table(below) => self.table(below, path),
                Item::ArrayOfTables(tables) => tables.iter().for_each(|below| self.table(below, path)),
                Item::Value(value) => self.ends.extend(value.span().map(|s| s.end)),
                Item::None => {}
            }
            path.pop();
        }
    }

    fn table(&mut self, table: &Table, path: &mut Vec<String>) {
        if let Some(span) = table.span()
            && has_header(table)
        {
            self.headers.push((span, path.clone()));
        }
        self.walk(table, path);
    }

    /// A region in three: what is said there with the comment below it, what stands apart, and the comment that
    /// belongs to the header which follows.
    fn split<'a>(
        &self,
        text: &'a str,
        region: Range<usize>,
        header_end: usize,
        followed: bool,
    ) -> (&'a str, &'a str, &'a str) {
        let said = self.ends.iter().filter(|end| region.contains(end)).copied().max().unwrap_or(region.start);
        let said = said.max(header_end);
        let body_end = if said == region.start { said } else { line_end(text, said).min(region.end) };
        let rest = text.get(body_end..region.end).unwrap_or_default();
        let blank = |line: &&str| line.trim().is_empty();
        let lines: Vec<&str> = rest.split_inclusive('\n').collect();
        let (tail, head) = match (lines.iter().position(blank), followed) {
            // One block of comments between two tables is about the second.
            (None, true) => (0, lines.len()),
            (None, false) => (lines.len(), 0),
            (Some(first), followed) => {
                let behind = lines.iter().rev().position(blank).unwrap_or(0);
                (first, if followed { behind } else { 0 })
            }
        };
        let length = |lines: &[&str]| lines.iter().map(|l| l.len()).sum::<usize>();
        let tail_end = body_end + length(lines.get(..tail).unwrap_or_default());
        let head_start = region.end - length(lines.get(lines.len() - head..).unwrap_or_default());
        let piece = |range: Range<usize>| text.get(range).unwrap_or_default();
        (piece(region.start..tail_end), piece(tail_end..head_start), piece(head_start..region.end))
    }
}

fn has_header(table: &Table) -> bool {
    !table.is_implicit() && !table.is_dotted()
}

fn starts_with(path: &[String], beginning: &[&str]) -> bool {
    path.len() >= beginning.len() && path.iter().zip(beginning).all(|(a, b)| a == b)
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |n| n + 1)
}

/// Behind the line's end.
fn line_end(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|t| t.find('\n')).map_or(text.len(), |n| at + n + 1)
}

/// Takes a table or a key away: a table with its comments, a key with what stands behind it on its line. What is
/// written above a key stays, because it may be about more than that key.
pub(super) fn take_away(text: &str, path: &[&str]) -> Result<String> {
    let document = parse(text)?;
    let Some(place) = Place::find(&document, path) else { return Ok(text.to_owned()) };
    if place.inline {
        let mut document = parse_mut(text)?;
        if let Some((last, above)) = path.split_last() {
            let parent = above.iter().try_fold(document.as_item_mut(), |item, key| {
                item.as_table_like_mut().and_then(|table| table.get_mut(key))
            });
            parent.and_then(Item::as_table_like_mut).map(|table| table.remove(last));
        }
        return Ok(document.to_string());
    }
    let mut text = text.to_owned();
    for span in place.lines.into_iter().rev() {
        let (start, end) = (line_start(&text, span.start), line_end(&text, span.end));
        text.replace_range(start..end, "");
    }
    let mut pieces = Pieces::of(&text)?;
    pieces.remove(path);
    Ok(pieces.whole())
}

/// Where something is written: inside a value, or on lines of its own (beside the tables below it).
struct Place {
    inline: bool,
    lines: Vec<Range<usize>>,
}

impl Place {
    fn find(document: &Document<String>, path: &[&str]) -> Option<Self> {
        let mut table: &dyn TableLike = document.as_table();
        let mut inline = false;
        let (last, above) = path.split_last()?;
        for key in above {
            let item = table.get(key)?;
            inline |= item.is_value();
            table = item.as_table_like()?;
        }
        let (key, item) = table.get_key_value(last)?;
        let mut lines = Vec::new();
        if !inline {
            leaves(key, item, &mut lines);
            lines.sort_by_key(|span| span.start);
        }
        Some(Self { inline, lines })
    }
}

fn leaves(key: &Key, item: &Item, lines: &mut Vec<Range<usize>>) {
    match item {
        Item::Value(value) => {
            if let (Some(key), Some(value)) = (key.span(), value.span()) {
                lines.push(key.start..value.end);
            }
        }
        // A table with a header is a piece of its own.
        Item::Table(table) if !has_header(table) => {
            for (name, _) in table {
                if let Some((key, item)) = table.get_key_value(name) {
                    leaves(key, item, lines);
                }
            }
        }
        _ => {}
    }
}

/// A new table in a group, written as the last of the group is.
pub(super) fn add_table(text: &str, group: &str, name: &str, keys: &[(String, Value)]) -> Result<String> {
    let document = parse(text)?;
    let own_header = match document.as_table().get(group) {
        None => true,
        Some(Item::Table(table)) if !table.is_dotted() => {
            table.iter().last().is_none_or(|(_, item)| item.as_table().is_some_and(|t| !t.is_dotted()))
        }
        Some(_) => false,
    };
    if own_header {
        let table: Table = keys.iter().map(|(k, v)| (k.as_str(), Item::Value(v.clone()))).collect();
        let mut pieces = Pieces::of(text)?;
        pieces.insert(alone(group, name, table), |p| p.path.first().is_some_and(|g| g == group));
        return Ok(pieces.whole());
    }
    let table: InlineTable = keys.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    let mut document = parse_mut(text)?;
    if let Some(tables) = document[group].as_table_like_mut() {
        tables.insert(name, Item::Value(Value::InlineTable(table)));
    }
    Ok(document.to_string())
}

/// A new table under a header of its own, behind the last one of the same group.
pub(super) fn add_header(text: &str, path: &[&str], keys: &[(String, Value)]) -> Result<String> {
    let mut new = format!("[{}]\n", path.join("."));
    for (key, value) in keys {
        let mut line = DocumentMut::new();
        line.insert(key, Item::Value(value.clone()));
        new.push_str(&line.to_string());
    }
    let mut pieces = Pieces::of(text)?;
    pieces.insert(new, |piece| piece.path.first().map(String::as_str) == path.first().copied());
    Ok(pieces.whole())
}

pub(super) fn duplicate(text: &str, agent: &str, to: &str, port: u16) -> Result<String> {
    let mut document = parse_mut(text)?;
    let mut copy = document["agents"][agent].clone();
    let Some(keys) = copy.as_table_like_mut() else {
        return Err(wrong(
            format!("{agent} is no table in the stack file."),
            "Correct it in the file first.",
        ));
    };
    keys.remove("name");
    // A role has its server's port, and a server of others stands where it stands.
    if !keys.contains_key("served_by") && !keys.contains_key("endpoint") {
        values::put(keys, "port", &Json::from(port))?;
    }
    if let Item::Table(table) = &mut copy
        && !table.is_dotted()
    {
        forget_places(table);
        table.decor_mut().clear();
        let new = alone("agents", to, table.clone());
        let mut pieces = Pieces::of(text)?;
        pieces.insert(new, |p| starts_with(&p.path, &["agents", agent]));
        return Ok(pieces.whole());
    }
    if let Some(agents) = document["agents"].as_table_like_mut() {
        agents.insert(to, copy);
    }
    Ok(document.to_string())
}

fn forget_places(table: &mut Table) {
    table.set_position(None);
    for (_, item) in table.iter_mut() {
        if let Item::Table(below) = item {
            forget_places(below);
        }
    }
}

/// The entries of a group in this order, and one under another name. Tables with headers stay where they are in the
/// text: see [`reorder`].
pub(super) fn rebuild(group: &mut Item, order: &[String], other: Option<(&str, &str)>) {
    let named = |key: Key| match other {
        Some((from, to)) if key.get() == from => Key::new(to)
            .with_leaf_decor(key.leaf_decor().clone())
            .with_dotted_decor(key.dotted_decor().clone()),
        _ => key,
    };
    match group {
        Item::Table(table) => {
            let entries: Vec<_> = order.iter().filter_map(|name| table.remove_entry(name)).collect();
            for (key, item) in entries {
                table.insert_formatted(&named(key), item);
            }
        }
        Item::Value(Value::InlineTable(table)) => {
            let entries: Vec<_> = order.iter().filter_map(|name| table.remove_entry(name)).collect();
            for (key, value) in entries {
                table.insert_formatted(&named(key), value);
            }
        }
        _ => {}
    }
}

/// The agents' tables in this order, in the places that agents' tables have.
pub(super) fn reorder(text: &str, order: &[String]) -> Result<String> {
    let mut pieces = Pieces::of(text)?;
    let is_agents = |p: &Piece| p.path.len() > 1 && p.path.first().is_some_and(|g| g == "agents");
    let of = |agent: &String| {
        let pieces = pieces.tables.iter().filter(move |p| is_agents(p) && p.path.get(1) == Some(agent));
        pieces.map(|p| (p.path.clone(), p.text.clone())).collect::<Vec<_>>()
    };
    let mut wanted = order.iter().flat_map(of).collect::<Vec<_>>().into_iter();
    for piece in pieces.tables.iter_mut().filter(|p| is_agents(p)) {
        if let Some((path, text)) = wanted.next() {
            piece.path = path;
            piece.text = text;
        }
    }
    Ok(pieces.whole())
}
