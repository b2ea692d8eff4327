//! What a request asks for, apart from the dialect it came in.

use serde_json::Value;

use crate::text::tokens;

/// Tokens that a chat template adds to each message, and to the whole.
const PER_MESSAGE: u64 = 5;
const PER_PROMPT: u64 = 3;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) parameters: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    Never,
    Auto,
    Required,
    Named(String),
}

/// When a stream tells how many tokens there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    Unsaid,
    AtTheEnd,
    InEveryChunk,
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "they are the switches of a request")]
pub(crate) struct Ask {
    /// The last thing the user said.
    pub(crate) asked: String,
    /// What a tool answered, where that came last.
    pub(crate) tool_answer: Option<String>,
    /// How many tools answered since the user spoke.
    pub(crate) answered: usize,
    pub(crate) json: bool,
    pub(crate) image: bool,
    pub(crate) prompt_tokens: u64,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) stop: Vec<String>,
    /// `ignore_eos`: go on until the limit.
    pub(crate) endless: bool,
    pub(crate) tools: Vec<Tool>,
    pub(crate) tool_choice: ToolChoice,
    pub(crate) stream: bool,
    pub(crate) usage: Usage,
    pub(crate) choices: u64,
}

impl Ask {
    /// `/v1/chat/completions`, and `/v1/messages`, whose messages have the same form.
    pub(crate) fn chat(body: &Value) -> Self {
        let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut ask = Self::plain(body, "");
        ask.listen(messages);
        ask.image = messages.iter().filter_map(|m| m["content"].as_array()).flatten().any(|part| {
            part["type"]
                .as_str()
                .is_some_and(|kind| kind.starts_with("image") || kind.starts_with("input_image"))
        });
        let texts = messages.iter().map(|m| count(&content(&m["content"])) + PER_MESSAGE).sum::<u64>();
        let system =
            if body["system"].is_null() { 0 } else { count(&content(&body["system"])) + PER_MESSAGE };
        let tools = if body["tools"].is_null() { 0 } else { count(&body["tools"].to_string()) };
        ask.prompt_tokens = texts + system + tools + PER_PROMPT;
        ask
    }

    /// `/v1/completions`: a prompt, or several, of which the first is answered.
    pub(crate) fn completion(body: &Value) -> Self {
        let prompt = match &body["prompt"] {
            Value::Array(parts) => parts.first().and_then(Value::as_str).unwrap_or_default(),
            other => other.as_str().unwrap_or_default(),
        };
        Self::plain(body, prompt)
    }

    /// `/v1/responses`: a text, or messages.
    pub(crate) fn responses(body: &Value) -> Self {
        match &body["input"] {
            Value::Array(items) => {
                let mut ask = Self::plain(body, "");
                ask.listen(items);
                ask.prompt_tokens =
                    items.iter().map(|i| count(&content(&i["content"])) + PER_MESSAGE).sum::<u64>()
                        + PER_PROMPT;
                ask
            }
            other => {
                let mut ask = Self::plain(body, other.as_str().unwrap_or_default());
                ask.prompt_tokens += PER_MESSAGE + PER_PROMPT;
                ask
            }
        }
    }

    /// What the user said last, and what tools answered to that.
    fn listen(&mut self, messages: &[Value]) {
        let spoken = messages.iter().rposition(|m| m["role"] == "user" && tool_answers(m).is_empty());
        if let Some(message) = spoken.and_then(|at| messages.get(at)) {
            self.asked = content(&message["content"]);
        }
        let since = messages.get(spoken.map_or(0, |at| at + 1)..).unwrap_or_default();
        self.answered = since.iter().map(|m| tool_answers(m).len()).sum();
        self.tool_answer = messages.last().and_then(|message| tool_answers(message).pop());
    }

    fn plain(body: &Value, prompt: &str) -> Self {
        let options = &body["stream_options"];
        let usage = if options["continuous_usage_stats"] == true && options["include_usage"] == true {
            Usage::InEveryChunk
        } else if options["include_usage"] == true {
            Usage::AtTheEnd
        } else {
            Usage::Unsaid
        };
        let limit = ["max_completion_tokens", "max_tokens", "max_output_tokens", "n_predict"]
            .iter()
            .find_map(|name| body[*name].as_u64());
        Self {
            asked: prompt.to_owned(),
            tool_answer: None,
            answered: 0,
            json: [&body["response_format"]["type"], &body["text"]["format"]["type"]]
                .iter()
                .any(|kind| matches!(kind.as_str(), Some("json_object" | "json_schema"))),
            image: false,
            prompt_tokens: count(prompt),
            max_tokens: limit,
            stop: match &body["stop"] {
                Value::String(one) => vec![one.clone()],
                Value::Array(all) => all.iter().filter_map(|s| s.as_str().map(str::to_owned)).collect(),
                _ => Vec::new(),
            },
            endless: body["ignore_eos"] == true,
            tools: body["tools"]
                .as_array()
                .map(|all| all.iter().filter_map(tool).collect())
                .unwrap_or_default(),
            tool_choice: tool_choice(&body["tool_choice"]),
            stream: body["stream"] == true,
            usage,
            choices: body["n"].as_u64().unwrap_or(1).clamp(1, 16),
        }
    }
}

pub(crate) fn count(text: &str) -> u64 {
    tokens(text).len() as u64
}

/// The text of a message's content: a string, or the text parts of a list.
fn content(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// What tools answer in this message, in each form's own way: a message of the role "tool", an item
/// `function_call_output`, parts `tool_result` of a user's message.
fn tool_answers(message: &Value) -> Vec<String> {
    if message["role"] == "tool" {
        return vec![content(&message["content"])];
    }
    if message["type"] == "function_call_output" {
        return vec![content(&message["output"])];
    }
    let parts = message["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().filter(|p| p["type"] == "tool_result").map(|part| content(&part["content"])).collect()
}

/// A tool in the form of chat completions, of responses, or of Anthropic.
fn tool(value: &Value) -> Option<Tool> {
    let inner = if value["function"].is_null() { value } else { &value["function"] };
    let parameters = if inner["input_schema"].is_null() { "parameters" } else { "input_schema" };
    Some(Tool { name: inner["name"].as_str()?.to_owned(), parameters: inner[parameters].clone() })
}

fn tool_choice(value: &Value) -> ToolChoice {
    match value {
        Value::String(word) if word == "none" => ToolChoice::Never,
        Value::String(word) if word == "required" => ToolChoice::Required,
        // Anthropic's words.
        Value::Object(_) if value["type"] == "none" => ToolChoice::Never,
        Value::Object(_) if value["type"] == "any" => ToolChoice::Required,
        Value::Object(_) => match value["function"]["name"].as_str().or_else(|| value["name"].as_str()) {
            Some(name) => ToolChoice::Named(name.to_owned()),
            None => ToolChoice::Auto,
        },
        _ => ToolChoice::Auto,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_chat_is_understood_in_both_forms_of_content() {
        let ask = Ask::chat(&json!({
            "messages": [
                {"role": "system", "content": "You are Odin."},
                {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url"}]},
            ],
            "max_tokens": 8, "stream": true, "stream_options": {"include_usage": true}, "stop": "x",
        }));
        assert_eq!((ask.asked.as_str(), ask.image, ask.max_tokens), ("Hi", true, Some(8)));
        assert_eq!((ask.stream, ask.usage), (true, Usage::AtTheEnd));
        assert_eq!(ask.stop, ["x"]);
        // "You", " are", " Odin", ".", "Hi", and what the template adds.
        assert_eq!(ask.prompt_tokens, 5 + 2 * PER_MESSAGE + PER_PROMPT);
    }

    #[test]
    fn tools_are_read_in_both_forms() {
        let openai = json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": 1}}}],
                            "tool_choice": {"type": "function", "function": {"name": "f"}}});
        let ask = Ask::chat(&openai);
        assert_eq!(ask.tools, [Tool { name: "f".into(), parameters: json!({"a": 1}) }]);
        assert_eq!(ask.tool_choice, ToolChoice::Named("f".into()));
        let anthropic = json!({"tools": [{"name": "g", "input_schema": {"b": 2}}]});
        assert_eq!(Ask::chat(&anthropic).tools, [Tool { name: "g".into(), parameters: json!({"b": 2}) }]);
        let responses = json!({"input": "Hi", "tools": [{"type": "function", "name": "h", "parameters": {"c": 3}}],
                               "tool_choice": {"type": "function", "name": "h"}});
        let ask = Ask::responses(&responses);
        assert_eq!(ask.tools, [Tool { name: "h".into(), parameters: json!({"c": 3}) }]);
        assert_eq!(ask.tool_choice, ToolChoice::Named("h".into()));
    }

    #[test]
    fn what_tools_answered_is_found_in_every_form() {
        let asked = json!({"role": "user", "content": "Use two tools."});
        let chat = Ask::chat(&json!({"messages": [asked, {"role": "assistant", "content": null},
            {"role": "tool", "content": "one"}, {"role": "tool", "content": "two"}]}));
        let anthropic = Ask::chat(&json!({"messages": [asked, {"role": "assistant", "content": []},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "one"},
                {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "two"}]}]}]}));
        let responses = Ask::responses(&json!({"input": [asked, {"type": "function_call", "name": "f"},
            {"type": "function_call_output", "output": "one"}, {"type": "function_call_output", "output": "two"}]}));
        for ask in [chat, anthropic, responses] {
            assert_eq!((ask.asked.as_str(), ask.answered), ("Use two tools.", 2));
            assert_eq!(ask.tool_answer.as_deref(), Some("two"));
        }
        let again = Ask::chat(&json!({"messages": [asked, {"role": "tool", "content": "one"}, asked]}));
        assert_eq!((again.answered, again.tool_answer), (0, None));
    }
}
