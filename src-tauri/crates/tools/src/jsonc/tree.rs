//! A document and where everything in it stands.

use std::ops::Range;

use jsonc_parser::ast::{ObjectPropName, Value};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::DocumentError;
use super::json::Json;

#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Bytes of the text.
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Object(Vec<Member>),
    List(Vec<Node>),
    Scalar(Json),
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Where the name's quote opens.
    pub(crate) start: usize,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn to_json(&self) -> Json {
        match &self.kind {
            Kind::Object(members) => {
                Json::Object(members.iter().map(|m| (m.name.clone(), m.value.to_json())).collect())
            }
            Kind::List(items) => Json::List(items.iter().map(Node::to_json).collect()),
            Kind::Scalar(json) => json.clone(),
        }
    }

    pub(crate) fn members(&self) -> Option<&[Member]> {
        match &self.kind {
            Kind::Object(members) => Some(members),
            _ => None,
        }
    }
}

/// JSON with comments and trailing commas, and nothing looser: what the tools' own readers refuse is refused here, before
/// it is built upon. None for a document that holds nothing but space and comments.
pub(crate) fn parse(text: &str) -> Result<Option<Node>, DocumentError> {
    let options = ParseOptions {
        allow_comments: true,
        allow_loose_object_property_names: false,
        allow_trailing_commas: true,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed =
        parse_to_ast(text, &CollectOptions::default(), &options).map_err(|e| DocumentError::Broken {
            line: e.line_display(),
            column: e.column_display(),
            what: e.kind().to_string(),
        })?;
    Ok(parsed.value.as_ref().map(node))
}

fn node(value: &Value) -> Node {
    let range = value.range();
    let kind = match value {
        Value::Object(object) => Kind::Object(
            object
                .properties
                .iter()
                .map(|p| Member {
                    name: match &p.name {
                        ObjectPropName::String(name) => name.value.to_string(),
                        ObjectPropName::Word(word) => word.value.to_owned(),
                    },
                    start: p.range.start,
                    value: node(&p.value),
                })
                .collect(),
        ),
        Value::Array(array) => Kind::List(array.elements.iter().map(node).collect()),
        Value::StringLit(text) => Kind::Scalar(Json::Text(text.value.to_string())),
        Value::NumberLit(number) => Kind::Scalar(Json::Number(number.value.to_owned())),
        Value::BooleanLit(yes) => Kind::Scalar(Json::Bool(yes.value)),
        Value::NullKeyword(_) => Kind::Scalar(Json::Null),
    };
    Node { span: range.start..range.end, kind }
}

/// 1-based.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).matches('\n').count() + 1
}
