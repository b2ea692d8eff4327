//! JSON with comments, edited in place: tables of what is easily got wrong, and random documents held against a plain
//! merge of values.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use jsonc_parser::{ParseOptions, parse_to_ast};
use proptest::prelude::*;
use serde_json::Value;
use tools::jsonc::{Document, DocumentError, Json};

fn ours() -> Json {
    Json::object([("model", Some(Json::text("asgard/thor")))])
}

fn deep() -> Json {
    Json::object([(
        "provider",
        Some(Json::object([("asgard", Some(Json::object([("npm", Some(Json::text("x")))])))])),
    )])
}

fn merged(text: &str, wanted: &Json) -> String {
    let mut document = Document::read(text).unwrap();
    document.merge(wanted).unwrap();
    document.text()
}

#[test]
fn a_member_is_put_where_the_others_are() {
    for (before, after) in [
        ("", "{\n  \"model\": \"asgard/thor\"\n}\n"),
        ("{}", "{\n  \"model\": \"asgard/thor\"\n}"),
        ("// mine", "// mine\n{\n  \"model\": \"asgard/thor\"\n}\n"),
        ("{\n  // nothing yet\n}\n", "{\n  // nothing yet\n  \"model\": \"asgard/thor\"\n}\n"),
        ("{ \"a\": 1 }", "{ \"a\": 1, \"model\": \"asgard/thor\" }"),
        ("{ \"a\": 1, }", "{ \"a\": 1, \"model\": \"asgard/thor\", }"),
        ("{\n\t\"a\": 1\n}", "{\n\t\"a\": 1,\n\t\"model\": \"asgard/thor\"\n}"),
        ("{\r\n    \"a\": 1\r\n}\r\n", "{\r\n    \"a\": 1,\r\n    \"model\": \"asgard/thor\"\r\n}\r\n"),
        ("{\n  \"a\": 1 // why\n}", "{\n  \"a\": 1, // why\n  \"model\": \"asgard/thor\"\n}"),
        ("{\n  \"a\": 1, // why\n}", "{\n  \"a\": 1, // why\n  \"model\": \"asgard/thor\",\n}"),
        (
            "{\n  \"a\": 1 /* b, \n c */ // d }\n  // e\n}",
            "{\n  \"a\": 1, /* b, \n c */ // d }\n  \"model\": \"asgard/thor\"\n  // e\n}",
        ),
        ("{\n  \"a\": 1\n  , // late\n}", "{\n  \"a\": 1\n  , // late\n  \"model\": \"asgard/thor\",\n}"),
        ("\u{feff}{\"a\":1}", "\u{feff}{\"a\":1, \"model\": \"asgard/thor\"}"),
        (
            "{\n  \"model\": /* now */ \"asgard/odin\" // mine\n}",
            "{\n  \"model\": /* now */ \"asgard/thor\" // mine\n}",
        ),
        // Another spelling of the same is the same.
        ("{\"model\": \"asgard\\/th\\u006fr\"}", "{\"model\": \"asgard\\/th\\u006fr\"}"),
    ] {
        assert_eq!(merged(before, &ours()), after, "{before}");
        assert_eq!(merged(after, &ours()), after, "a second time");
    }
}

#[test]
fn an_object_gets_lines_of_its_own() {
    assert_eq!(
        merged("{ \"a\": 1 } // end\n", &deep()),
        "{ \"a\": 1,\n  \"provider\": {\n    \"asgard\": {\n      \"npm\": \"x\"\n    }\n  }\n} // end\n"
    );
    assert_eq!(
        merged("{\n    \"provider\": {\n        \"other\": {} // mine\n    }\n}", &deep()),
        "{\n    \"provider\": {\n        \"other\": {}, // mine\n        \"asgard\": {\n            \"npm\": \"x\"\n        }\n    }\n}"
    );
    // What is put in goes through quotes and line ends unharmed.
    let odd = "a\"b\\c\nd\u{1}\u{2028}e\u{1f600}";
    let text = merged("{}", &Json::object([("k", Some(Json::text(odd)))]));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["k"], odd);
}

#[test]
fn a_member_goes_and_its_comma_with_it() {
    for (before, after) in [
        ("{\n  \"a\": 1,\n  \"gone\": {\n    \"x\": 1\n  },\n  \"b\": 2\n}", "{\n  \"a\": 1,\n  \"b\": 2\n}"),
        ("{\n  \"a\": 1,\n  \"gone\": 2\n}", "{\n  \"a\": 1\n}"),
        ("{\n  \"a\": 1, // why\n  \"gone\": 2,\n}", "{\n  \"a\": 1, // why\n}"),
        ("{\"gone\": 1}", "{}"),
        ("{\"gone\": 1, \"b\": 2}", "{ \"b\": 2}"),
        ("{\n  \"gone\": 1, // about it\n  \"b\": 2\n}", "{\n   // about it\n  \"b\": 2\n}"),
        ("{\"b\": 2}", "{\"b\": 2}"),
    ] {
        let mut document = Document::read(before).unwrap();
        document.remove(&["gone"]).unwrap();
        assert_eq!(document.text(), after, "{before}");
    }
}

#[test]
fn what_would_be_a_guess_is_refused_with_its_line() {
    let broken = |text: &str| Document::read(text).unwrap_err();
    for text in
        ["{", "{\"a\": }", "{'a': 1}", "{a: 1}", "{\"a\": 1 \"b\": 2}", "{} {}", "nul", "{\"a\": 0x1}", "/*"]
    {
        assert!(matches!(broken(text), DocumentError::Broken { .. }), "{text}");
    }
    assert_eq!(broken("{\n  \"a\": oops\n}").to_string().split(':').next(), Some("line 2, column 8"));
    assert!(matches!(broken("[1]"), DocumentError::NotAnObject { .. }));
    assert!(matches!(broken(&"[".repeat(200_000)), DocumentError::Broken { .. }), "depth is bounded");

    let mut document = Document::read("{\n  \"provider\": {},\n  \"provider\": {}\n}").unwrap();
    let error = document.merge(&deep()).unwrap_err();
    assert_eq!(error, DocumentError::Twice { place: "provider".into(), first: 2, second: 3 });
    let before = "{\n  \"provider\": []\n}";
    let mut document = Document::read(before).unwrap();
    let error = document
        .merge(&Json::Object(vec![("z".into(), Json::Null), ("provider".into(), deep())]))
        .unwrap_err();
    assert_eq!(error, DocumentError::NotAnObject { place: "provider".into(), line: 2 });
    assert_eq!(document.text(), before, "nothing has changed");
    // Twice somewhere else is nobody's business.
    assert!(merged("{\"x\": 1, \"x\": 2}", &ours()).contains("\"x\": 1, \"x\": 2"));
}

/// A document as text, with space and comments wherever they may be.
fn document() -> impl Strategy<Value = String> {
    let trivia = prop_oneof![
        4 => Just(String::new()),
        4 => Just(" ".to_owned()),
        3 => Just("\n".to_owned()),
        1 => Just("\n    ".to_owned()),
        1 => Just("\r\n\t".to_owned()),
        1 => "[a-z{},\" ]{0,8}".prop_map(|c| format!("// {c}\n")),
        1 => "[a-z{},\" \n]{0,8}".prop_map(|c| format!("/* {c} */")),
    ];
    let key = prop_oneof![
        Just("model"),
        Just("provider"),
        Just("asgard"),
        Just("options"),
        Just("npm"),
        Just("a"),
        Just("b"),
        Just("c d"),
    ];
    let scalar = prop_oneof![
        Just("1".to_owned()),
        Just("-2.5e3".to_owned()),
        Just("true".to_owned()),
        Just("null".to_owned()),
        Just("\"asgard/odin\"".to_owned()),
        Just("\"// no comment, {\\\"}\"".to_owned()),
    ];
    let space = trivia.clone();
    let value = scalar.prop_recursive(4, 24, 5, move |inner| {
        let member = (space.clone(), key.clone(), space.clone(), space.clone(), inner.clone(), space.clone())
            .prop_map(|(a, k, b, c, v, d)| (k, format!("{a}\"{k}\"{b}:{c}{v}{d}")));
        let list = (prop::collection::vec((space.clone(), inner), 0..4), space.clone(), any::<bool>())
            .prop_map(|(items, end, comma)| {
                let trailing = if comma && !items.is_empty() { "," } else { "" };
                let items: Vec<String> = items.into_iter().map(|(s, v)| format!("{s}{v}")).collect();
                format!("[{}{trailing}{end}]", items.join(","))
            });
        prop_oneof![3 => object(member, space.clone()), 1 => list]
    });
    let member = (trivia.clone(), "[a-m]", trivia.clone(), value.clone(), trivia.clone()).prop_map(
        |(a, k, b, v, d)| (Box::leak(k.clone().into_boxed_str()) as &str, format!("{a}\"{k}\":{b}{v}{d}")),
    );
    let named = (trivia.clone(), prop_oneof![Just("model"), Just("provider")], value, trivia.clone())
        .prop_map(|(a, k, v, d)| (k, format!("{a}\"{k}\": {v}{d}")));
    let root = object(prop_oneof![2 => member, 1 => named], trivia.clone());
    (trivia.clone(), root, trivia).prop_map(|(a, o, b)| format!("{a}{o}{b}"))
}

fn object(
    member: impl Strategy<Value = (&'static str, String)>,
    space: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    (prop::collection::vec(member, 0..5), space, any::<bool>()).prop_map(|(mut members, end, comma)| {
        let mut seen = std::collections::BTreeSet::new();
        members.retain(|(k, _)| seen.insert(*k));
        let trailing = if comma && !members.is_empty() { "," } else { "" };
        let texts: Vec<String> = members.into_iter().map(|(_, t)| t).collect();
        format!("{{{}{trailing}{end}}}", texts.join(","))
    })
}

/// Read by the crate's own way to values, not by ours.
fn value(text: &str) -> Value {
    jsonc_parser::parse_to_serde_value(text, &ParseOptions::default()).unwrap()
}

fn lay(over: &mut Value, wanted: &Value) {
    match (over, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            for (key, value) in wanted {
                match there.get_mut(key) {
                    Some(now) => lay(now, value),
                    None => drop(there.insert(key.clone(), value.clone())),
                }
            }
        }
        (there, wanted) => *there = wanted.clone(),
    }
}

fn comments(text: &str) -> Vec<String> {
    use jsonc_parser::tokens::Token;
    let collect = jsonc_parser::CollectOptions {
        comments: jsonc_parser::CommentCollectionStrategy::AsTokens,
        tokens: true,
    };
    let parsed = parse_to_ast(text, &collect, &ParseOptions::default()).unwrap();
    let tokens = parsed.tokens.unwrap();
    let of = |t: &Token| match t {
        Token::CommentLine(c) | Token::CommentBlock(c) => Some((*c).to_owned()),
        _ => None,
    };
    tokens.iter().filter_map(|t| of(&t.token)).collect()
}

/// Whether `small` is what is left of `large` when stretches of it are taken out.
fn left_of(small: &str, large: &str) -> bool {
    let mut large = large.chars();
    small.chars().all(|c| large.any(|l| l == c))
}

proptest! {
    #[test]
    fn what_is_not_ours_stays(before in document()) {
        let wanted = Json::object([
            ("model", Some(Json::text("asgard/thor"))),
            ("provider", Some(Json::object([(
                "asgard",
                Some(Json::object([
                    ("npm", Some(Json::text("x"))),
                    ("options", Some(Json::object([("timeout", Some(Json::number(5_u32)))]))),
                ])),
            )]))),
        ]);
        let mut document = Document::read(&before).unwrap();
        match document.merge(&wanted) {
            Ok(()) => {
                let after = document.text();
                let mut expected = value(&before);
                lay(&mut expected, &value(&wanted.print("", "", "")));
                prop_assert_eq!(value(&after), expected, "{}", after);
                prop_assert_eq!(merged(&after, &wanted), after.clone(), "a second time changes nothing");
                let (was, is) = (comments(&before), comments(&after));
                // Those inside of a value that was replaced go with it.
                prop_assert!(is.len() <= was.len());
                if value(&before).get("model").is_none() && value(&before).get("provider").is_none() {
                    prop_assert_eq!(is, was);
                    // Space before a closing brace may become a line of its own; nothing else is touched.
                    let bare = |t: &str| t.chars().filter(|c| !c.is_whitespace()).collect::<String>();
                    prop_assert!(left_of(&bare(&before), &bare(&after)), "{before}\n->\n{after}");
                }
            }
            Err(DocumentError::NotAnObject { .. }) => prop_assert_eq!(document.text(), before),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn members_of_others_keep_their_bytes(before in document()) {
        let mut document = Document::read(&before).unwrap();
        if document.merge(&ours()).is_ok() {
            let after = document.text();
            let spans = |text: &str| -> Vec<(String, String)> {
                let parsed = parse_to_ast(text, &jsonc_parser::CollectOptions::default(), &ParseOptions::default()).unwrap();
                let root = parsed.value.unwrap();
                root.as_object().unwrap().properties.iter()
                    .filter(|p| p.name.as_str() != "model")
                    .map(|p| (p.name.as_str().to_owned(), text[p.range.start..p.range.end].to_owned()))
                    .collect()
            };
            prop_assert_eq!(spans(&before), spans(&after));
        }
    }

    #[test]
    fn taking_out_is_taking_out_one(before in document()) {
        let mut document = Document::read(&before).unwrap();
        document.remove(&["provider"]).unwrap();
        let mut expected = value(&before);
        expected.as_object_mut().unwrap().remove("provider");
        prop_assert_eq!(value(&document.text()), expected, "{}", document.text());
        // Strict readers too: no comma is left over that was not there.
        if !before.contains("//") && !before.contains("/*") && serde_json::from_str::<Value>(&before).is_ok() {
            prop_assert!(serde_json::from_str::<Value>(&document.text()).is_ok(), "{}", document.text());
        }
    }

    #[test]
    fn no_text_makes_it_fall(text in "[{}\\[\\]\",:/* a1\n\r\u{feff}\\\\-]{0,60}") {
        if let Ok(mut document) = Document::read(&text) {
            let _ = document.merge(&deep());
            let _ = document.remove(&["provider", "asgard"]);
            prop_assert!(Document::read(&document.text()).is_ok());
        }
    }
}
