//! The stacks that come with Asgard.

/// The default: six agents on vLLM.
pub const NORSE: &str = include_str!("../../presets/norse.toml");

/// The same stack with MB for GB, for a rehearsal: resolve it with a scale of 1024, so that the known figures of
/// models shrink alike and every sum is the same in the smaller unit.
pub fn rehearsal_text() -> String {
    NORSE.replace(" GB", " MB")
}
