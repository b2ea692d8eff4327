//! Later files over earlier ones, as compose does it: tables key by key, most lists one after the other, a command
//! or a check whole.

use std::rc::Rc;

use crate::ImportError;
use crate::report::quoted;
use crate::yaml::{Map, Node, Value};

/// A service with the file that said most of it: the first one.
pub(super) struct Service {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) node: Rc<Node>,
}

/// Lists of `KEY=value` that a table would say too.
const PAIRS: &[&str] = &["environment", "labels", "args", "sysctls", "extra_hosts"];
/// Lists that are one value.
const WHOLE: &[&str] = &["command", "entrypoint", "test"];

pub(super) fn services(file: &str, root: &Node) -> Result<Vec<Service>, ImportError> {
    let Some(node) = root.get("services") else { return Ok(Vec::new()) };
    let wrong = |line: u32, what: &str| ImportError {
        message: format!("{}, line {line}: {what}.", quoted(file)),
        next: "Write services as a table, with a table for each.".to_owned(),
    };
    let map = match &node.value {
        Value::Map(map) => map,
        Value::Null => return Ok(Vec::new()),
        _ => return Err(wrong(node.line, "services is no table")),
    };
    map.iter()
        .map(|(name, node)| {
            if node.map().is_none() {
                return Err(wrong(node.line, &format!("the service {} is no table", quoted(name))));
            }
            Ok(Service { name: name.clone(), file: file.to_owned(), node: Rc::clone(node) })
        })
        .collect()
}

pub(super) fn over(mut earlier: Vec<Service>, later: Vec<Service>) -> Vec<Service> {
    for service in later {
        match earlier.iter_mut().find(|s| s.name == service.name) {
            Some(before) => before.node = merged("", &before.node, &service.node),
            None => earlier.push(service),
        }
    }
    earlier
}

fn merged(key: &str, earlier: &Rc<Node>, later: &Rc<Node>) -> Rc<Node> {
    if WHOLE.contains(&key) {
        return Rc::clone(later);
    }
    let (earlier, later) = if PAIRS.contains(&key) || key == "depends_on" {
        (as_table(key, earlier), as_table(key, later))
    } else {
        (Rc::clone(earlier), Rc::clone(later))
    };
    match (&earlier.value, &later.value) {
        (Value::Map(a), Value::Map(b)) => {
            let mut map: Map = a.clone();
            for (key, node) in b {
                match map.iter_mut().find(|(k, _)| k == key) {
                    Some((key, before)) => *before = merged(key, before, node),
                    None => map.push((key.clone(), Rc::clone(node))),
                }
            }
            Node::of(earlier.line, Value::Map(map))
        }
        (Value::List(a), Value::List(b)) => {
            let mut list = a.clone();
            // A text that is there already says nothing new.
            list.extend(
                b.iter().filter(|n| n.text().is_none() || !a.iter().any(|m| m.text() == n.text())).cloned(),
            );
            Node::of(earlier.line, Value::List(list))
        }
        (_, Value::Null) => earlier,
        _ => later,
    }
}

fn as_table(key: &str, node: &Rc<Node>) -> Rc<Node> {
    let Some(list) = node.list() else { return Rc::clone(node) };
    let entries = list.iter().filter_map(|n| {
        let text = n.text()?;
        let (name, value) = match text.split_once('=').filter(|_| key != "depends_on") {
            Some((name, value)) => (name, Value::Text(value.to_owned())),
            None => (text, Value::Null),
        };
        Some((name.to_owned(), Node::of(n.line, value)))
    });
    Node::of(node.line, Value::Map(entries.collect()))
}
