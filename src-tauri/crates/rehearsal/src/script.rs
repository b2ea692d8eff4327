//! Tool calls that the prompt itself spells out, so that a rehearsal can play a tool's whole way: with
//! `[[call NAME {…}]]` in the user's last message the stand-in calls the tool NAME with that object, or with none.
//! Several are called in turn, each when the one before has been answered. A tool that the request does not offer is
//! passed over.

use serde_json::{Value, json};

use crate::exchange::{Ask, Tool, ToolChoice};

const OPENS: &str = "[[call ";
const CLOSES: &str = "]]";

/// The call whose turn it is.
pub(crate) fn call(ask: &Ask) -> Option<(&Tool, Value)> {
    if ask.tool_choice == ToolChoice::Never {
        return None;
    }
    let known = |(name, arguments): (String, Value)| {
        ask.tools.iter().find(|tool| tool.name == name).map(|tool| (tool, arguments))
    };
    calls(&ask.asked).into_iter().filter_map(known).nth(ask.answered)
}

/// Every call in a text. What looks like one and is none is text.
fn calls(text: &str) -> Vec<(String, Value)> {
    // `opencode run TEXT` puts the text between quotes, with a backslash before those that it holds.
    text.split(OPENS).skip(1).filter_map(|t| one(t).or_else(|| one(&t.replace("\\\"", "\"")))).collect()
}

/// `NAME {…}]]`, or `NAME]]`.
fn one(text: &str) -> Option<(String, Value)> {
    let end = text.find(|c: char| c.is_whitespace() || c == ']')?;
    let (name, rest) = text.split_at_checked(end).filter(|(name, _)| !name.is_empty())?;
    let rest = rest.trim_start();
    if rest.starts_with(CLOSES) {
        return Some((name.to_owned(), json!({})));
    }
    // The object may hold brackets of its own, so it is read as what it is.
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let arguments = values.next()?.ok().filter(Value::is_object)?;
    let after = rest.get(values.byte_offset()..)?;
    after.trim_start().starts_with(CLOSES).then(|| (name.to_owned(), arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_and_everything_else_is_text() {
        let task = json!({"prompt": "say ]] and {", "n": 1});
        for (text, expected) in [
            ("no call at all", vec![]),
            ("[[call ls]] please", vec![("ls", json!({}))]),
            ("[[call task {\"prompt\": \"say ]] and {\", \"n\": 1} ]]", vec![("task", task)]),
            ("[[call a {}]][[call b {\"x\":[[]]}]]", vec![("a", json!({})), ("b", json!({"x": [[]]}))]),
            ("\"[[call a {\\\"x\\\": 1}]]\"", vec![("a", json!({"x": 1}))]),
            ("[[call a {\"x\": }]] [[call b]]", vec![("b", json!({}))]),
            ("[[call a [1]]] [[call ]] [[call a {}", vec![]),
        ] {
            let read: Vec<(String, Value)> = calls(text);
            let read: Vec<(&str, Value)> = read.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
            assert_eq!(read, expected, "{text}");
        }
    }
}
