//! Values of the stack file, from and to JSON, and put in the place of others with their comments.

use std::fmt::Write as _;

use serde_json::Value as Json;
use toml_edit::{Array, InlineTable, Item, TableLike, Value};

use super::{EditError, Result, wrong};

pub(super) fn to_json(item: &Item) -> Json {
    match item {
        Item::None => Json::Null,
        Item::Value(value) => value_to_json(value),
        Item::Table(table) => table.iter().map(|(k, i)| (k.to_owned(), to_json(i))).collect(),
        Item::ArrayOfTables(tables) => tables
            .iter()
            .map(|t| t.iter().map(|(k, i)| (k.to_owned(), to_json(i))).collect::<Json>())
            .collect(),
    }
}

fn value_to_json(value: &Value) -> Json {
    match value {
        Value::String(text) => Json::from(text.value().as_str()),
        Value::Integer(number) => Json::from(*number.value()),
        Value::Float(number) => Json::from(*number.value()),
        Value::Boolean(flag) => Json::from(*flag.value()),
        Value::Datetime(time) => Json::from(time.value().to_string()),
        Value::Array(list) => list.iter().map(value_to_json).collect(),
        Value::InlineTable(table) => table.iter().map(|(k, v)| (k.to_owned(), value_to_json(v))).collect(),
    }
}

pub(super) fn texts(item: &Item) -> Vec<String> {
    item.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

pub(super) fn to_toml(key: &str, json: &Json) -> Result<Value> {
    let no = || -> EditError {
        wrong(
            format!("The value given for `{key}` cannot stand in a stack file."),
            "Give a text, a number, true or false, a list of texts, or a table of texts.",
        )
    };
    match json {
        Json::String(text) => Ok(text_value(text)),
        Json::Bool(flag) => Ok(Value::from(*flag)),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(Value::from(whole)),
            (None, Some(part)) if part.is_finite() && !number.is_u64() => Ok(Value::from(part)),
            _ => Err(no()),
        },
        Json::Array(list) => {
            let mut array = Array::new();
            for element in list {
                array.push(element.as_str().ok_or_else(no)?);
            }
            Ok(Value::Array(array))
        }
        Json::Object(pairs) => {
            let mut table = InlineTable::new();
            for (name, value) in pairs {
                table.insert(name, Value::from(value.as_str().ok_or_else(no)?));
            }
            Ok(Value::InlineTable(table))
        }
        Json::Null => Err(no()),
    }
}

/// A text of several lines stands on several lines.
fn text_value(text: &str) -> Value {
    let plain = Value::from(text);
    if !text.contains('\n') {
        return plain;
    }
    let mut written = String::from("\"\"\"\n");
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => written.push_str("\\\\"),
            // Quotes side by side, or at the end, could close the text.
            '"' if rest.peek().is_none_or(|next| *next == '"') => written.push_str("\\\""),
            '\n' | '\t' => written.push(c),
            c if c.is_control() => {
                // Writing into a text cannot fail.
                let _ = write!(written, "\\u{:04X}", u32::from(c));
            }
            c => written.push(c),
        }
    }
    written.push_str("\"\"\"");
    match written.parse::<Value>() {
        Ok(value) if value.as_str() == Some(text) => value,
        _ => plain,
    }
}

/// Sets a key. What says the same already keeps its spelling; what is behind a value stays behind it.
pub(super) fn put(table: &mut dyn TableLike, key: &str, json: &Json) -> Result<()> {
    let new = to_toml(key, json)?;
    match table.get_mut(key) {
        Some(item) if to_json(item) == *json => {}
        Some(Item::Value(Value::Array(list))) if json.is_array() => {
            let wanted: Vec<String> =
                json.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect();
            if list.iter().all(Value::is_str) {
                sync(list, &wanted);
            } else {
                let decor = list.decor().clone();
                *list = wanted.iter().collect();
                *list.decor_mut() = decor;
            }
        }
        Some(item) if json.is_object() && item.is_table_like() => {
            if let (Some(below), Some(pairs)) = (item.as_table_like_mut(), json.as_object()) {
                for (name, value) in pairs {
                    put(below, name, value)?;
                }
            }
        }
        Some(Item::Value(old)) => {
            let decor = old.decor().clone();
            *old = new;
            *old.decor_mut() = decor;
        }
        Some(other) => *other = Item::Value(new),
        None => {
            table.insert(key, Item::Value(new));
        }
    }
    Ok(())
}

fn part(raw: Option<&toml_edit::RawString>) -> String {
    raw.and_then(toml_edit::RawString::as_str).unwrap_or_default().to_owned()
}

fn prefix(value: &Value) -> String {
    part(value.decor().prefix())
}

fn suffix(value: &Value) -> String {
    part(value.decor().suffix())
}

/// The list with exactly these texts, in this order. Elements that stay bring their comments; those of elements that
/// go end up at the end of the list.
pub(super) fn sync(list: &mut Array, wanted: &[String]) {
    if list.iter().map(|v| v.as_str().unwrap_or_default()).eq(wanted.iter().map(String::as_str)) {
        return;
    }
    let mut pool: Vec<Option<Value>> = list.iter().cloned().map(Some).collect();
    let chosen: Vec<Option<Value>> = wanted
        .iter()
        .map(|text| {
            let same = |v: &&mut Option<Value>| v.as_ref().and_then(Value::as_str) == Some(text);
            pool.iter_mut().find(same).and_then(Option::take)
        })
        .collect();
    let gone: Vec<Value> = pool.into_iter().flatten().collect();
    let elements = chosen.into_iter().zip(wanted).map(|(old, text)| Element {
        new: old.is_none(),
        value: old.unwrap_or_else(|| Value::from(text.as_str())),
    });
    lay_out(list, elements.collect(), &gone);
}

/// The list without the elements that `stays` refuses.
pub(super) fn keep(list: &mut Array, stays: impl Fn(&Value) -> bool) {
    let (kept, gone): (Vec<Value>, Vec<Value>) = list.iter().cloned().partition(&stays);
    if !gone.is_empty() {
        lay_out(list, kept.into_iter().map(|value| Element { value, new: false }).collect(), &gone);
    }
}

struct Element {
    value: Value,
    new: bool,
}

fn lay_out(list: &mut Array, elements: Vec<Element>, gone: &[Value]) {
    let old: Vec<Value> = list.iter().cloned().collect();
    let mut trailing = part(Some(list.trailing()));
    let spread = |text: &str| text.contains(['\n', '#']);
    let on_lines = spread(&trailing) || old.iter().any(|v| spread(&prefix(v)) || spread(&suffix(v)));
    let first = old.first().map(prefix).unwrap_or_default();
    let last = old.last().map(suffix).unwrap_or_default();
    if on_lines {
        // The last one's end belongs behind the comma that may now follow it.
        trailing.insert_str(0, &last);
        for value in gone {
            for comment in [prefix(value), suffix(value)] {
                if comment.contains('#') && comment != last {
                    trailing.insert_str(0, &comment);
                }
            }
        }
    }
    let indent = old.iter().rev().map(prefix).find_map(|p| p.rsplit_once('\n').map(|(_, i)| i.to_owned()));
    let indent = indent.unwrap_or_else(|| "    ".to_owned());
    let count = elements.len();
    list.clear();
    for (n, Element { mut value, new }) in elements.into_iter().enumerate() {
        let decor = value.decor_mut();
        if on_lines {
            if new {
                decor.set_prefix(format!("\n{indent}"));
            }
            if new || n + 1 == count || part(decor.suffix()) == last {
                decor.set_suffix("");
            }
        } else {
            decor.set_prefix(if n == 0 { first.as_str() } else { " " });
            decor.set_suffix(if n + 1 == count { last.as_str() } else { "" });
        }
        list.push_formatted(value);
    }
    if on_lines {
        list.set_trailing_comma(count > 0);
        list.set_trailing(trailing);
    }
}
