//! What comes back, as the pieces it is sent in.

use serde_json::{Map, Value, json};

use crate::exchange::{Ask, Tool, ToolChoice};
use crate::fault::Kind;
use crate::metrics::Finish;
use crate::script;
use crate::settings::Settings;
use crate::text::{self, Wish, tokens};

/// Garbage without a limit ends here.
const GARBAGE: u64 = 200;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) pieces: Vec<String>,
    pub(crate) finish: Finish,
    /// The stop text that ended it, where one did.
    pub(crate) stopped_by: Option<String>,
    /// The tool that is called; the pieces are then its arguments.
    pub(crate) tool: Option<String>,
}

impl Reply {
    /// The answer to `ask`, of at most `limit` tokens.
    pub(crate) fn to(ask: &Ask, settings: &Settings, limit: u64) -> Self {
        let plain = |pieces, finish| Self { pieces, finish, stopped_by: None, tool: None };
        if settings.has(Kind::Empty) {
            return plain(Vec::new(), Finish::Stop);
        }
        if settings.has(Kind::Garbage) {
            return plain((0..limit.min(GARBAGE)).map(|_| "!".to_owned()).collect(), Finish::Length);
        }
        let scripted = script::call(ask);
        let spontaneous = || called(ask).map(|tool| (tool, arguments(tool, &ask.asked)));
        if let Some((tool, arguments)) = scripted.or_else(spontaneous) {
            let arguments = arguments.to_string();
            let pieces = tokens(&arguments).into_iter().map(str::to_owned).collect();
            return Self { tool: Some(tool.name.clone()), ..plain(pieces, Finish::ToolCalls) };
        }
        let wish = Wish {
            agent: &settings.agent,
            asked: &ask.asked,
            tool_answer: ask.tool_answer.as_deref(),
            json: ask.json,
        };
        let mut whole = text::answer(&wish);
        let found =
            ask.stop.iter().filter(|s| !s.is_empty()).filter_map(|s| Some((whole.find(s.as_str())?, s)));
        let stopped_by = found.min_by_key(|(at, _)| *at).map(|(at, stop)| {
            whole.truncate(at);
            stop.clone()
        });
        let all = tokens(&whole);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if ask.endless && !all.is_empty() {
            let pieces = all.iter().cycle().take(limit.min(1 << 20)).map(|t| (*t).to_owned()).collect();
            return plain(pieces, Finish::Length);
        }
        let pieces: Vec<String> = all.iter().take(limit).map(|t| (*t).to_owned()).collect();
        if pieces.len() < all.len() || pieces.len() == limit {
            return plain(pieces, Finish::Length);
        }
        Self { stopped_by, ..plain(pieces, Finish::Stop) }
    }
}

/// The tool that an answer calls: when it must, or when the user speaks of a tool. Never right after one answered,
/// so that a loop of calls comes to its end.
fn called(ask: &Ask) -> Option<&Tool> {
    match &ask.tool_choice {
        ToolChoice::Never => None,
        ToolChoice::Named(name) => ask.tools.iter().find(|tool| tool.name == *name),
        ToolChoice::Required => ask.tools.first(),
        ToolChoice::Auto => {
            let spoken_of = ask.tool_answer.is_none() && ask.asked.to_lowercase().contains("tool");
            ask.tools
                .iter()
                .find(|tool| ask.asked.contains(&tool.name) && spoken_of)
                .or_else(|| ask.tools.first().filter(|_| spoken_of))
        }
    }
}

/// Arguments that satisfy the tool's schema.
fn arguments(tool: &Tool, asked: &str) -> Value {
    let value = fill(&tool.parameters, asked, 0);
    if value.is_object() { value } else { json!({}) }
}

fn fill(schema: &Value, asked: &str, depth: usize) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|all| all.first()) {
        return first.clone();
    }
    if !schema["const"].is_null() {
        return schema["const"].clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str).unwrap_or("string"),
        other => other.as_str().unwrap_or(if schema["properties"].is_object() { "object" } else { "string" }),
    };
    match kind {
        "object" if depth < 8 => {
            let properties = schema["properties"].as_object();
            let required: Vec<&str> = schema["required"]
                .as_array()
                .map(|r| r.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            let mut object = Map::new();
            for (name, inner) in properties.into_iter().flatten() {
                if required.is_empty() || required.contains(&name.as_str()) {
                    object.insert(name.clone(), fill(inner, asked, depth + 1));
                }
            }
            Value::Object(object)
        }
        "object" => json!({}),
        "array" => json!([]),
        "integer" => json!(1),
        "number" => json!(1.5),
        "boolean" => json!(true),
        "null" => Value::Null,
        _ => json!(
            asked
                .split_whitespace()
                .last()
                .unwrap_or("rehearsal")
                .trim_matches(|c: char| !c.is_alphanumeric())
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(fault: &'static str) -> Settings {
        Settings::read(|name| match name {
            "ASGARD_AGENT" => Some("thor".to_owned()),
            "ASGARD_REHEARSAL_FAULT" => Some(fault.to_owned()),
            _ => None,
        })
        .unwrap()
    }

    fn text(reply: &Reply) -> String {
        reply.pieces.concat()
    }

    fn ask(body: &Value) -> Ask {
        Ask::chat(body)
    }

    #[test]
    fn a_limit_cuts_and_says_so() {
        let hi = ask(&json!({"messages": [{"role": "user", "content": "Hi"}]}));
        let reply = Reply::to(&hi, &settings(""), 8);
        assert_eq!((reply.pieces.len(), reply.finish), (8, Finish::Length));
        assert_eq!(text(&reply), "Thor here. You asked: Hi.");
        assert_eq!(Reply::to(&hi, &settings(""), 10_000).finish, Finish::Stop);
        let endless = ask(&json!({"messages": [{"role": "user", "content": "Hi"}], "ignore_eos": true}));
        assert_eq!(Reply::to(&endless, &settings(""), 1000).pieces.len(), 1000);
    }

    #[test]
    fn a_stop_text_ends_the_answer_before_it() {
        let hi =
            ask(&json!({"messages": [{"role": "user", "content": "Hi"}], "stop": ["rehearsal", " asked"]}));
        let reply = Reply::to(&hi, &settings(""), 1000);
        assert_eq!((text(&reply).as_str(), reply.stopped_by.as_deref()), ("Thor here. You", Some(" asked")));
    }

    #[test]
    fn a_tool_is_called_once_and_its_schema_kept() {
        let tools = json!([{"type": "function", "function": {"name": "get_weather", "parameters": {
            "type": "object", "required": ["city", "days"],
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}, "days": {"type": "integer"},
                           "unit": {"type": "string"}}}}}]);
        let user = json!({"role": "user", "content": "Use a tool for the weather."});
        let reply = Reply::to(&ask(&json!({"messages": [user], "tools": tools})), &settings(""), 100);
        assert_eq!((reply.tool.as_deref(), reply.finish), (Some("get_weather"), Finish::ToolCalls));
        assert_eq!(text(&reply), r#"{"city":"Paris","days":1}"#);
        let answered = json!({"role": "tool", "content": "12 degrees"});
        let reply =
            Reply::to(&ask(&json!({"messages": [user, answered], "tools": tools})), &settings(""), 100);
        assert!(reply.tool.is_none() && text(&reply).contains("The tool answered: 12 degrees."));
    }

    #[test]
    fn a_script_in_the_prompt_is_followed_call_by_call() {
        let tools = json!([{"type": "function", "function": {"name": "read", "parameters": {}}},
                           {"type": "function", "function": {"name": "task", "parameters": {}}}]);
        let user = json!({"role": "user",
            "content": "Do it. [[call task {\"prompt\": \"[[1]] x\"}]] [[call absent {}]] [[call read]]"});
        let answered = json!({"role": "tool", "content": "done"});
        let call = |messages: Value, choice: &str| {
            let body = json!({"messages": messages, "tools": tools, "tool_choice": choice});
            let reply = Reply::to(&ask(&body), &settings(""), 1000);
            (reply.tool.clone(), text(&reply))
        };
        assert_eq!(
            call(json!([user]), "auto"),
            (Some("task".to_owned()), r#"{"prompt":"[[1]] x"}"#.to_owned())
        );
        assert_eq!(call(json!([user, answered]), "auto"), (Some("read".to_owned()), "{}".to_owned()));
        let (tool, words) = call(json!([user, answered, answered]), "auto");
        assert!(tool.is_none() && words.contains("The tool answered: done."), "{words}");
        assert_eq!(call(json!([user]), "none").0, None);
    }

    #[test]
    fn garbage_and_nothing_come_when_asked_for() {
        let hi = ask(&json!({"messages": [{"role": "user", "content": "Hi"}]}));
        assert_eq!(text(&Reply::to(&hi, &settings("garbage"), 8)), "!!!!!!!!");
        assert_eq!(text(&Reply::to(&hi, &settings("empty"), 8)), "");
    }
}
