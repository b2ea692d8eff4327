//! The stacks that come with Asgard: data, each planned on the recorded machine that it names.
//!
//! What a preset needs of models is in `domain::catalog` or in its own text; nothing here knows any model.

use std::path::{Path, PathBuf};

use super::{SaveError, replace};

/// The default: six agents on vLLM.
pub const NORSE: &str = include_str!("../../presets/norse.toml");

/// How much smaller the machine of a rehearsal is: MB for GB.
const REHEARSAL: u64 = 1024;

/// A stack that comes with Asgard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    pub name: &'static str,
    /// What it is, one sentence.
    pub summary: &'static str,
    /// What it is for: "Strix Halo, 128 GB".
    pub machine: &'static str,
    /// The recorded machine it is planned on: a folder of `hardware/fixtures`.
    pub fixture: &'static str,
    /// What its own figures are divided by: 1, and 1024 for the one that is only ever played.
    pub scale: u64,
    text: &'static str,
}

impl Preset {
    /// The text as it is for the machine that the preset names.
    pub fn text(&self) -> String {
        self.text_scaled(self.scale)
    }

    /// The text for a real machine (1), or for a rehearsal (more), whose sizes stand in MB for GB: resolved with the
    /// same scale the known figures of models shrink alike, and every sum is the same in the smaller unit.
    pub fn text_scaled(&self, scale: u64) -> String {
        // The rehearsal plays the default's own text, so that the two cannot drift apart, under its own name.
        let text = self.text.replacen("name = \"norse\"", &format!("name = \"{}\"", self.name), 1);
        if scale > 1 { in_megabytes(&text) } else { text }
    }
}

const ALL: &[Preset] = &[
    Preset {
        name: "norse",
        summary: "Six agents on vLLM with 4-bit weights; Odin and Valkyrie take turns.",
        machine: "Strix Halo, 128 GB",
        fixture: "strix-halo-small-carveout",
        scale: 1,
        text: NORSE,
    },
    Preset {
        name: "norse-bf16",
        summary: "Thor and Valkyrie with 16-bit weights on vLLM, the other four on the processor.",
        machine: "Strix Halo, 128 GB, little else running",
        fixture: "strix-halo-quiet",
        scale: 1,
        text: include_str!("../../presets/norse-bf16.toml"),
    },
    Preset {
        name: "norse-next",
        summary: "As norse, with Qwen3-Next 80B in Odin's place.",
        machine: "Strix Halo, 128 GB",
        fixture: "strix-halo-small-carveout",
        scale: 1,
        text: include_str!("../../presets/norse-next.toml"),
    },
    Preset {
        name: "norse-llamacpp",
        summary: "All six as GGUF files on llama.cpp, on the GPU through Vulkan.",
        machine: "Strix Halo, 128 GB",
        fixture: "strix-halo-small-carveout",
        scale: 1,
        text: include_str!("../../presets/norse-llamacpp.toml"),
    },
    Preset {
        name: "qwen3-next-tp4",
        summary: "Qwen3-Next 80B over four cards.",
        machine: "Four cards of 16 GB",
        fixture: "four-cards",
        scale: 1,
        text: include_str!("../../presets/qwen3-next-tp4.toml"),
    },
    Preset {
        name: "small",
        summary: "Three small models on the processor; no GPU needed.",
        machine: "Any machine with 8 GB",
        fixture: "small-8gb",
        scale: 1,
        text: include_str!("../../presets/small.toml"),
    },
    Preset {
        name: "rehearsal",
        summary: "The norse household as stand-ins play it, in megabytes; no model is fetched.",
        machine: "A rehearsal, on any machine",
        fixture: "rehearsal",
        scale: REHEARSAL,
        text: NORSE,
    },
];

/// Every preset, the default first.
pub fn all() -> &'static [Preset] {
    ALL
}

pub fn find(name: &str) -> Option<&'static Preset> {
    ALL.iter().find(|p| p.name == name)
}

/// What putting a preset into force did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Where the stack file that was there is kept; none where there was none.
    pub kept: Option<PathBuf>,
}

/// Makes `preset` the stack in force: see [`replace`].
///
/// # Errors
/// The file cannot be written; then nothing was changed.
pub fn use_preset(path: &Path, preset: &Preset, scale: u64, stamp: &str) -> Result<Used, SaveError> {
    Ok(Used { kept: replace(path, &preset.text_scaled(scale), stamp)? })
}

/// The default in the size of a rehearsal.
pub fn rehearsal_text() -> String {
    in_megabytes(NORSE)
}

/// Values alone: what a comment says of a real machine stays true.
fn in_megabytes(text: &str) -> String {
    text.replace(" GB\"", " MB\"")
}
