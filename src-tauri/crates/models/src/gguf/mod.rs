//! GGUF files: what a header says of a model, and what llama.cpp will keep for it.

mod facts;
mod read;
pub mod types;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod writing;

pub use facts::facts;
pub use read::{GgufError, Header, MOST_HEADER, Tensor, Value, read, read_beginning};
