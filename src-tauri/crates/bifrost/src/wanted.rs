//! Finding the model's name in a request's body, and, for a server that knows its model by another name, putting that
//! one in its place. Not another byte is touched.

use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The model that a body names, and where: the bytes of the value, quotes included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) model: String,
    pub(crate) at: Range<usize>,
    /// Whether a stream is asked for: `"stream": true`.
    pub(crate) stream: bool,
}

/// The body with `model` in the place of the value at `at`.
pub(crate) fn renamed(body: &Bytes, at: &Range<usize>, model: &str) -> Bytes {
    let quoted = serde_json::Value::from(model).to_string();
    let (Some(before), Some(after)) = (body.get(..at.start), body.get(at.end..)) else { return body.clone() };
    let mut out = BytesMut::with_capacity(before.len() + quoted.len() + after.len());
    out.extend_from_slice(before);
    out.extend_from_slice(quoted.as_bytes());
    out.extend_from_slice(after);
    out.freeze()
}

/// The text of the top-level `model`, or a sentence about what is wrong with the body.
///
/// The rest is walked over, not kept: a request with a hundred thousand tokens of history costs no tree. Two `model`
/// keys are refused, because readers differ in which one they take, and the agent that is leased would then not be
/// the one that answers. Keys inside other objects do not count, however often they come.
pub(crate) fn model_in(body: &[u8]) -> Result<Named, String> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let found = json.deserialize_map(TopLevel).and_then(|found| json.end().map(|()| found));
    match found {
        Ok(Found { model: Some(raw), stream }) => {
            // The value is a part of the body, so where it begins is the distance between the two.
            let start = (raw.get().as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
            let model = serde_json::from_str::<String>(raw.get()).map_err(|_| NOT_A_TEXT.to_owned())?;
            Ok(Named { model, at: start..start + raw.get().len(), stream })
        }
        Ok(Found { model: None, .. }) => Err("The request names no model.".to_owned()),
        // Data errors are this file's own sentences; the position that serde adds would only be in the way.
        Err(e) if e.is_data() => Err(NOT_A_TEXT.to_owned()),
        Err(e) => Err(format!("The request is not valid JSON: {e}.")),
    }
}

const NOT_A_TEXT: &str = "The request's `model` must be there once, as a text.";

struct TopLevel;

struct Found<'de> {
    model: Option<&'de RawValue>,
    stream: bool,
}

impl<'de> Visitor<'de> for TopLevel {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a `model`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut model = None;
        let mut stream = false;
        // Keys are read as texts, not as raw bytes: "mod\u0065l" is `model` to the agent, so it is here.
        while let Some(key) = map.next_key::<String>()? {
            if key == "stream" {
                stream = map.next_value::<&RawValue>()?.get() == "true";
            } else if key != "model" {
                map.next_value::<IgnoredAny>()?;
            } else if model.is_some() {
                return Err(A::Error::duplicate_field("model"));
            } else {
                model = Some(map.next_value::<&RawValue>()?);
            }
        }
        Ok(Found { model, stream })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn check(body: &str, expected: Result<&str, &str>) {
        match (model_in(body.as_bytes()), expected) {
            (Ok(named), Ok(expected)) => assert_eq!(named.model, expected, "{body}"),
            (Err(why), Err(part)) => assert!(why.contains(part), "{body}: {why:?} does not say {part:?}"),
            (got, expected) => panic!("{body}: got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn the_model_is_found_or_its_absence_said() {
        check(r#"{"model":"odin"}"#, Ok("odin"));
        check(r#" {"messages":[{"model":"x","model":"y"}],"model":"odin","a":{"model":3}} "#, Ok("odin"));
        check(r#"{"mod\u0065l":"odin"}"#, Ok("odin"));
        check(r#"{"model":"Qwen\/Qwen2.5"}"#, Ok("Qwen/Qwen2.5"));
        check(r#"{"model":"ödin 🜁"}"#, Ok("ödin 🜁"));
        check(r#"{"model":""}"#, Ok(""));
        check(r#"{"a":"\ud800","model":"odin"}"#, Ok("odin"));
        check(r"{}", Err("names no model"));
        check(r#"{"a":{"model":"odin"}}"#, Err("names no model"));
        check(r#"{"model":"odin","model":"odin"}"#, Err("once"));
        check(r#"{"model":"odin","mod\u0065l":"thor"}"#, Err("once"));
        check(r#"{"model":3}"#, Err("as a text"));
        check(r#"{"model":null}"#, Err("as a text"));
        check(r#"{"model":["odin"]}"#, Err("as a text"));
        check(r#"{"model":"odin""#, Err("not valid JSON"));
        check(r#"{"model":"odin"} {}"#, Err("not valid JSON"));
        check(r#"{"model":"odin",}"#, Err("not valid JSON"));
        check(r"{'model':'odin'}", Err("not valid JSON"));
        check("", Err("not valid JSON"));
        check("\u{feff}{\"model\":\"odin\"}", Err("not valid JSON"));
        check("[]", Err("must be there"));
        check("\"model\"", Err("must be there"));
    }

    #[test]
    fn a_body_nested_a_million_deep_is_walked_without_a_stack() {
        let deep = format!(r#"{{"a":{}1{},"model":"odin"}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
        check(&deep, Ok("odin"));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::vec((key(), inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    fn key() -> impl Strategy<Value = String> {
        prop_oneof!["model|Model|model |messages|stream", ".{0,8}"]
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_a_full_reader_finds(
            pairs in proptest::collection::vec((key(), json()), 0..8),
            model in proptest::option::of(".{0,20}"),
            pretty: bool,
            place in 0_usize..8,
        ) {
            // Written by hand, so that the model stands at any place among the keys.
            let mut seen = Map::new();
            let mut pairs: Vec<(String, Value)> = pairs
                .into_iter()
                .filter(|(key, _)| key != "model" && seen.insert(key.clone(), Value::Null).is_none())
                .collect();
            if let Some(model) = &model {
                pairs.insert(place.min(pairs.len()), ("model".to_owned(), Value::from(model.clone())));
            }
            let parts: Vec<String> = pairs
                .iter()
                .map(|(key, value)| {
                    let value = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
                    format!("{}:{}", Value::from(key.clone()), value.unwrap())
                })
                .collect();
            let body = format!("{{{}}}", parts.join(","));
            let full: Value = serde_json::from_str(&body).unwrap();
            let found = model_in(body.as_bytes()).ok();
            prop_assert_eq!(found.as_ref().map(|n| n.model.as_str()), full["model"].as_str());
            // Another name in its place changes that value and nothing else.
            if let Some(named) = found {
                let bytes = Bytes::from(body.clone());
                let other = renamed(&bytes, &named.at, "so \"me\"/Other\n");
                let mut expected = full;
                expected["model"] = Value::from("so \"me\"/Other\n");
                prop_assert_eq!(serde_json::from_slice::<Value>(&other).unwrap(), expected);
                prop_assert_eq!(&other[..named.at.start], &bytes[..named.at.start]);
                prop_assert!(other.ends_with(&bytes[named.at.end..]));
            }
        }

        #[test]
        fn no_bytes_make_it_fall_over(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let full: Option<Value> = serde_json::from_slice(&body).ok();
            if let Ok(named) = model_in(&body)
                && let Some(full) = full
            {
                prop_assert_eq!(Some(named.model.as_str()), full["model"].as_str());
            }
        }
    }
}
