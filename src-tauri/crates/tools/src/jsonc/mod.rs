//! JSON with comments, edited in place: what is not ours stays byte for byte.
//!
//! A document is parsed to know where everything stands; a change replaces one stretch of its text.

mod edit;
mod json;
mod space;
mod tree;

use space::Style;

pub use json::Json;
pub(crate) use json::quote as quote_to;

/// Why a document is not edited. Lines are 1-based.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    #[error("line {line}, column {column}: {what}")]
    Broken { line: usize, column: usize, what: String },
    #[error("line {line}: {place} is no object, so nothing can be put into it")]
    NotAnObject { place: String, line: usize },
    /// Readers take the last one; editing either could surprise.
    #[error("lines {first} and {second}: {place} is there twice")]
    Twice { place: String, first: usize, second: usize },
}

/// A document that is being edited.
#[derive(Debug, Clone)]
pub struct Document {
    /// Some editors begin a file with it; it stays.
    mark: bool,
    text: String,
}

const MARK: char = '\u{feff}';

impl Document {
    /// # Errors
    /// What is no JSON with comments, or no object.
    pub fn read(text: &str) -> Result<Self, DocumentError> {
        let body = text.strip_prefix(MARK);
        let document = Self { mark: body.is_some(), text: body.unwrap_or(text).to_owned() };
        match tree::parse(&document.text)? {
            Some(root) if root.members().is_none() => Err(DocumentError::NotAnObject {
                place: "the whole file".to_owned(),
                line: tree::line_of(&document.text, root.span.start),
            }),
            _ => Ok(document),
        }
    }

    pub fn text(&self) -> String {
        if self.mark { format!("{MARK}{}", self.text) } else { self.text.clone() }
    }

    /// What it says; of a key that is there twice the last, as readers do.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub fn value(&self) -> Result<Json, DocumentError> {
        Ok(tree::parse(&self.text)?.map_or(Json::Object(Vec::new()), |root| root.to_json()))
    }

    /// Lays `wanted` over the document: objects member by member, everything else as a whole. What is already so keeps
    /// its bytes.
    ///
    /// # Errors
    /// A value on the way that is no object, or a key on the way that is there twice; then nothing has changed.
    pub fn merge(&mut self, wanted: &Json) -> Result<(), DocumentError> {
        let mut text = self.text.clone();
        edit::merge(&mut text, &mut Vec::new(), wanted)?;
        self.text = text;
        Ok(())
    }

    /// Takes the member at `path` out, where it is there.
    ///
    /// # Errors
    /// As [`Document::merge`].
    pub fn remove(&mut self, path: &[&str]) -> Result<(), DocumentError> {
        let mut text = self.text.clone();
        edit::remove(&mut text, path)?;
        self.text = text;
        Ok(())
    }
}
