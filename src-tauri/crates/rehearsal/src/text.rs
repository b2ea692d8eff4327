//! What a stand-in answers: readable, fitting the agent, and the same every time.

use std::fmt::Write as _;

/// What an answer is made for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish<'a> {
    pub(crate) agent: &'a str,
    /// The last thing the user said.
    pub(crate) asked: &'a str,
    /// What a tool answered, where the conversation ends with that.
    pub(crate) tool_answer: Option<&'a str>,
    /// Whether the answer has to be a JSON object.
    pub(crate) json: bool,
}

/// The whole text of an answer, before any limit is put on it.
pub(crate) fn answer(wish: &Wish<'_>) -> String {
    let name = proper(wish.agent);
    if wish.json {
        return serde_json::json!({
            "agent": wish.agent,
            "asked": excerpt(wish.asked, 60),
            "rehearsal": true,
        })
        .to_string();
    }
    if let Some(result) = wish.tool_answer {
        return format!(
            "{name} here. The tool answered: {} This is a rehearsal, so I take its word for it.",
            sentence(&excerpt(result, 80))
        );
    }
    let lower = wish.asked.to_lowercase();
    let mut text = if wish.asked.trim().is_empty() {
        format!("{name} here. You asked nothing yet. ")
    } else {
        format!("{name} here. You asked: {} ", sentence(&excerpt(wish.asked, 80)))
    };
    text.push_str("This is a rehearsal, so no model read it. What I can tell you is what I am for:\n\n");
    for line in duties(wish.agent) {
        text.push_str("- ");
        text.push_str(line);
        text.push('\n');
    }
    if ["code", "function", "script", "program"].iter().any(|word| lower.contains(word)) {
        text.push_str("\nSome code, to see how it is shown:\n\n```rust\nfn main() {\n    println!(\"");
        text.push_str(&name);
        text.push_str(" is rehearsing.");
        text.push_str("\");\n}\n```\n");
    }
    if ["long", "story", "essay"].iter().any(|word| lower.contains(word)) {
        for (number, line) in STORY.iter().cycle().take(STORY.len() * 4).enumerate() {
            let _ = writeln!(text, "\n{}. {line}", number + 1);
        }
    }
    text.push_str("\nAsk again with a real model, and the answer will be about your question.");
    text
}

/// What agents of these names are for, in a line each. Any other name gets the last ones.
fn duties(agent: &str) -> [&'static str; 3] {
    match agent {
        "thor" => ["**plan** the work in steps", "coordinate the others", "delegate what others do better"],
        "valkyrie" => ["**write code** that runs", "use tools and read their answers", "keep changes small"],
        "odin" => ["**review** what was done", "decide on architecture", "say no with a reason"],
        "heimdall" => ["**validate** builds", "watch over policy", "let nothing pass unseen"],
        "loki" => ["**attack** assumptions", "find the edge cases", "break it before others do"],
        "frigga" => ["**document** what is known", "compress long texts", "remember decisions"],
        _ => ["**answer** at a steady pace", "hold the memory I was given", "give it back when asked"],
    }
}

const STORY: [&str; 5] = [
    "The machine had one pool of memory, and six that wanted it.",
    "Two of them were giants, and the giants never met.",
    "Whoever came had to wait until the one before had given back what it held.",
    "Somebody kept a ledger, and every byte stood in it exactly once.",
    "So nothing fell over, and in the evening the pool was as large as in the morning.",
];

fn proper(agent: &str) -> String {
    let mut letters = agent.chars();
    letters.next().map(|first| first.to_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

/// The first line of a text, cut at a word near `limit` characters.
fn excerpt(text: &str, limit: usize) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    if line.chars().count() <= limit {
        return line.to_owned();
    }
    let head: String = line.chars().take(limit).collect();
    let cut = head.rfind(' ').filter(|at| *at > limit / 2).unwrap_or(head.len());
    format!("{} …", head.get(..cut).unwrap_or(&head))
}

/// With a full stop, unless it ends some other way.
fn sentence(text: &str) -> String {
    if text.ends_with(['.', '!', '?', '…', ':']) { text.to_owned() } else { format!("{text}.") }
}

/// Cuts a text into word-like tokens: a word with the space before it, or one sign. Joined they are the text.
pub(crate) fn tokens(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let lead = usize::from(first == ' ');
        let word: usize = rest
            .get(lead..)
            .unwrap_or_default()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '\'')
            .map(char::len_utf8)
            .sum();
        // A sign goes with the space before it, as words do.
        let sign = rest.get(lead..).and_then(|r| r.chars().next()).map_or(0, char::len_utf8);
        let length = lead + if word > 0 { word } else { sign };
        let (token, left) = rest.split_at(length.max(1));
        all.push(token);
        rest = left;
    }
    all
}

/// A number for a token, the same every time, in the range of a small vocabulary.
pub(crate) fn token_id(token: &str) -> u32 {
    token.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte)) % 49_152
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn to(agent: &str, asked: &str) -> String {
        answer(&Wish { agent, asked, ..Wish::default() })
    }

    #[test]
    fn an_answer_fits_the_agent_and_the_question() {
        let text = to("odin", "Should we shard the database?");
        assert!(text.starts_with("Odin here. You asked: Should we shard the database? This is a rehearsal"));
        assert!(text.contains("- **review**") && !text.contains("```"));
        assert_eq!(text, to("odin", "Should we shard the database?"));
        assert!(to("valkyrie", "Write a function").contains("```rust\nfn main()"));
    }

    #[test]
    fn eight_tokens_are_readable() {
        let text = to("heimdall", "Hi");
        let head: String = tokens(&text).into_iter().take(8).collect();
        assert_eq!(head, "Heimdall here. You asked: Hi.");
    }

    #[test]
    fn a_long_question_is_cut_at_a_word() {
        let text = to("thor", &"many words ".repeat(40));
        assert!(text.contains("words … This is a rehearsal"), "{text}");
    }

    #[test]
    fn a_json_answer_is_json() {
        let text = answer(&Wish { agent: "loki", asked: "\"quoted\"", json: true, ..Wish::default() });
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["asked"], "\"quoted\"");
    }

    proptest! {
        #[test]
        fn tokens_joined_are_the_text(text in any::<String>()) {
            prop_assert_eq!(tokens(&text).concat(), text.clone());
            prop_assert!(tokens(&text).iter().all(|token| !token.is_empty()));
        }
    }
}
