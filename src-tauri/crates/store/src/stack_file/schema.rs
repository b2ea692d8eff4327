//! The JSON Schema of the stack file, for editors.

use serde_json::{Map, Value, json};

use super::keys::{Key, STACK, Shape};

/// JSON Schema (draft 2020-12), made of the same table that files are checked with.
pub fn json_schema() -> Value {
    let mut schema = table(STACK);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Asgard stack");
    schema["description"] = json!(
        "Which agents there are, what they run, and which of them are awake together. 1 GB of memory is 2^30 bytes."
    );
    schema
}

fn table(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| {
            let mut schema = shape(key.shape);
            schema["description"] = json!(key.meaning);
            (key.name.to_owned(), schema)
        })
        .collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn shape(shape: Shape) -> Value {
    let size = || json!({ "type": ["string", "integer"], "examples": ["12 GB", "512 MB", 1_073_741_824] });
    match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Word(words) => json!({ "type": "string", "enum": words }),
        Shape::Integer => json!({ "type": "integer", "minimum": 0 }),
        Shape::Number => json!({ "type": "number", "minimum": 0 }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Size => size(),
        Shape::Time => json!({ "type": ["string", "integer"], "examples": ["90 s", "20 min", "1 h", 60] }),
        Shape::Limit => json!({ "anyOf": [size(), { "type": "object", "additionalProperties": size() }] }),
        Shape::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Shape::Groups => {
            json!({ "type": "array", "items": { "type": "array", "items": { "type": "string" } } })
        }
        Shape::Named => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Shape::Table(keys) => table(keys),
        Shape::Tables(keys) => json!({ "type": "object", "additionalProperties": table(keys) }),
    }
}
