//! A stack as compose files and `.env`.

use domain::stack::Stack;

use crate::SourceFile;

/// The files, and what they do not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Export {
    pub files: Vec<SourceFile>,
    pub notes: Vec<String>,
}

pub fn export_compose(_stack: &Stack) -> Export {
    Export::default()
}

pub fn export_env(_stack: &Stack) -> Export {
    Export::default()
}
