//! YAML as a tree with places. Aliases share what they name, and what they would unfold to is counted, so that a
//! small file cannot become a large one.

use std::collections::BTreeMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::ImportError;
use crate::report::{MOST_BYTES, quoted};

/// Nodes of one file, those behind aliases counted as often as they are named.
const MOST_NODES: u64 = 100_000;
const DEEPEST: u32 = 64;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) value: Value,
    /// How many nodes this one unfolds to.
    nodes: u64,
    /// How deep it is.
    height: u32,
}

#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Text(String),
    List(Vec<Rc<Node>>),
    Map(Map),
}

pub(crate) type Map = Vec<(String, Rc<Node>)>;

impl Node {
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> Option<&[Rc<Node>]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Rc<Node>> {
        self.map()?.iter().find(|(k, _)| k == key).map(|(_, node)| node)
    }

    /// A node of our own making, out of others.
    pub(crate) fn of(line: u32, value: Value) -> Rc<Self> {
        let children: Vec<&Rc<Self>> = match &value {
            Value::List(list) => list.iter().collect(),
            Value::Map(map) => map.iter().map(|(_, node)| node).collect(),
            Value::Null | Value::Text(_) => Vec::new(),
        };
        let nodes = children.iter().fold(1_u64, |sum, c| sum.saturating_add(c.nodes));
        let height = 1 + children.iter().map(|c| c.height).max().unwrap_or(0);
        Rc::new(Self { line, value, nodes, height })
    }
}

/// What was read, and the lines with a tag, whose meaning is not taken.
pub(crate) struct Read {
    pub(crate) root: Rc<Node>,
    pub(crate) tags: Vec<u32>,
}

enum Open {
    List { line: u32, anchor: usize, items: Vec<Rc<Node>> },
    Map { line: u32, anchor: usize, entries: Vec<(String, u32, Rc<Node>)>, key: Option<(String, u32)> },
}

/// # Errors
/// It is not YAML, or more than is read here; the place is in the message.
pub(crate) fn read(name: &str, text: &str) -> Result<Read, ImportError> {
    if text.len() > MOST_BYTES {
        return Err(ImportError {
            message: format!("{} is larger than a megabyte.", quoted(name)),
            next: "Give the compose file itself.".to_owned(),
        });
    }
    let mut reader =
        Reader { name, open: Vec::new(), anchors: BTreeMap::new(), spent: 0, tags: Vec::new(), root: None };
    let mut documents = 0;
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|e| {
            let line = e.marker().line();
            fail(name, line_number(line), &format!("it is not YAML ({})", e.info()), "Repair it there.")
        })?;
        let line = line_number(span.start.line());
        match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(fail(
                        name,
                        line,
                        "a second document begins",
                        "Give one document for each file.",
                    ));
                }
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            other => reader.take(other, line)?,
        }
    }
    let root = reader.root.ok_or_else(|| ImportError {
        message: format!("{} is empty.", quoted(name)),
        next: "Give a compose file with services.".to_owned(),
    })?;
    Ok(Read { root, tags: reader.tags })
}

struct Reader<'a> {
    name: &'a str,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Rc<Node>>,
    spent: u64,
    tags: Vec<u32>,
    root: Option<Rc<Node>>,
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, line: u32) -> Result<(), ImportError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.tag(tag.is_some(), line);
                let null =
                    style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null { Value::Null } else { Value::Text(text.into_owned()) };
                self.node(Node::of(line, value), anchor, line, true)
            }
            Event::SequenceStart(anchor, tag) => {
                self.tag(tag.is_some(), line);
                self.open.push(Open::List { line, anchor, items: Vec::new() });
                self.depth(0, line)
            }
            Event::MappingStart(anchor, tag) => {
                self.tag(tag.is_some(), line);
                self.open.push(Open::Map { line, anchor, entries: Vec::new(), key: None });
                self.depth(0, line)
            }
            Event::SequenceEnd => match self.open.pop() {
                Some(Open::List { line, anchor, items }) => {
                    self.node(Node::of(line, Value::List(items)), anchor, line, true)
                }
                _ => Ok(()),
            },
            Event::MappingEnd => match self.open.pop() {
                Some(Open::Map { line, anchor, entries, .. }) => {
                    let map = self.merged(entries)?;
                    self.node(Node::of(line, Value::Map(map)), anchor, line, true)
                }
                _ => Ok(()),
            },
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(fail(
                        self.name,
                        line,
                        "an alias names what it is part of",
                        "Write it out there.",
                    ));
                };
                self.spend(node.nodes, line)?;
                self.depth(node.height, line)?;
                self.node(node, 0, line, false)
            }
            _ => Ok(()),
        }
    }

    fn tag(&mut self, there: bool, line: u32) {
        if there && self.tags.len() < 100 {
            self.tags.push(line);
        }
    }

    fn spend(&mut self, nodes: u64, line: u32) -> Result<(), ImportError> {
        self.spent = self.spent.saturating_add(nodes);
        if self.spent > MOST_NODES {
            return Err(fail(
                self.name,
                line,
                "with its aliases unfolded it has more than a hundred thousand values",
                "Use fewer anchors, or give a smaller file.",
            ));
        }
        Ok(())
    }

    fn depth(&self, below: u32, line: u32) -> Result<(), ImportError> {
        let deep = u32::try_from(self.open.len()).unwrap_or(u32::MAX).saturating_add(below);
        if deep > DEEPEST {
            return Err(fail(
                self.name,
                line,
                "it is nested more than 64 deep",
                "No compose file needs that; check it.",
            ));
        }
        Ok(())
    }

    fn node(&mut self, node: Rc<Node>, anchor: usize, line: u32, new: bool) -> Result<(), ImportError> {
        if new {
            self.spend(1, line)?;
        }
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        let name = self.name;
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => {
                if let Some((key, line)) = key.take() {
                    entries.push((key, line, node));
                } else {
                    let text = match &node.value {
                        Value::Text(text) => text.clone(),
                        Value::Null => "null".to_owned(),
                        _ => {
                            return Err(fail(
                                name,
                                line,
                                "a key is a list or a table",
                                "Write a word as the key.",
                            ));
                        }
                    };
                    *key = Some((text, line));
                }
            }
        }
        Ok(())
    }

    /// The table with its merge keys taken in: what it says itself wins, then the earlier of what is merged.
    fn merged(&mut self, entries: Vec<(String, u32, Rc<Node>)>) -> Result<Map, ImportError> {
        let mut map: Map = Vec::new();
        let mut places: BTreeMap<String, u32> = BTreeMap::new();
        let mut merges = Vec::new();
        for (key, line, node) in entries {
            if key == "<<" {
                merges.push((line, node));
                continue;
            }
            if let Some(first) = places.insert(key.clone(), line) {
                let what = format!("{} is there twice, first on line {first}", quoted(&key));
                return Err(fail(self.name, line, &what, "Keep the one that is meant."));
            }
            map.push((key, node));
        }
        for (line, node) in merges {
            let sources: Vec<Rc<Node>> = match &node.value {
                Value::Map(_) => vec![node],
                Value::List(list) => list.clone(),
                _ => Vec::new(),
            };
            if sources.is_empty() || sources.iter().any(|s| s.map().is_none()) {
                return Err(fail(
                    self.name,
                    line,
                    "<< merges what is no table",
                    "Let it name an anchor of a table.",
                ));
            }
            for source in sources {
                for (key, value) in source.map().into_iter().flatten() {
                    if !places.contains_key(key) {
                        places.insert(key.clone(), value.line);
                        map.push((key.clone(), Rc::clone(value)));
                        self.spend(1, line)?;
                    }
                }
            }
        }
        Ok(map)
    }
}

fn line_number(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

fn fail(name: &str, line: u32, what: &str, next: &str) -> ImportError {
    ImportError { message: format!("{}, line {line}: {what}.", quoted(name)), next: next.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn fails(text: &str) -> String {
        read("c.yml", text).map(|_| ()).expect_err("must be refused").message
    }

    #[test]
    fn anchors_and_merge_keys_are_followed() {
        let text =
            "x-base: &base\n  image: a\n  restart: always\nservices:\n  one:\n    <<: *base\n    image: b\n";
        let read = read("c.yml", text).expect("YAML");
        let one = read.root.get("services").and_then(|s| s.get("one")).cloned().expect("one");
        assert_eq!(one.get("image").and_then(|n| n.text().map(str::to_owned)).as_deref(), Some("b"));
        assert_eq!(one.get("restart").map(|n| n.line), Some(3));
    }

    #[test]
    fn a_bomb_is_refused_before_it_unfolds() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let before = vec![format!("*a{}", i - 1); 10].join(", ");
            let _ = writeln!(text, "a{i}: &a{i} [{before}]");
        }
        assert!(fails(&text).contains("hundred thousand"));
        let deep = format!("{}{}", "[".repeat(90), "]".repeat(90));
        assert!(fails(&deep).contains("64 deep"));
        // Deeper still the parser itself gives up.
        assert!(fails(&"[".repeat(5000)).contains("line 1"));
        // Merge keys copy too.
        let mut text = String::from("a0: &a0\n");
        for i in 0..400 {
            let _ = writeln!(text, "  k{i}: x");
        }
        for i in 0..400 {
            let _ = write!(text, "b{i}:\n  <<: *a0\n");
        }
        assert!(fails(&text).contains("hundred thousand"));
    }

    #[test]
    fn what_has_two_meanings_is_refused() {
        assert!(fails("a: 1\nb: 2\na: 3\n").contains("line 3: \"a\" is there twice, first on line 1"));
        assert!(fails("a: 1\n---\nb: 2\n").contains("second document"));
        assert!(fails("? [a]\n: b\n").contains("a key is a list"));
        assert!(fails("a: &x [*x]\n").contains("part of"));
        assert!(fails("a: [\n").contains("not YAML"));
        assert!(fails("").contains("empty"));
        assert!(fails(&"a".repeat(MOST_BYTES + 1)).contains("megabyte"));
    }
}
