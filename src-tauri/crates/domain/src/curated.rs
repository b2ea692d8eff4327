//! What is known of the models of the shipped presets before any network: beside [`crate::catalog`], which has what
//! plans need, the licence, the size on the disk and what a person wants to know first.
//!
//! Sources: the repositories' pages and lists of files. Deliberately absent: commits. One is pinned when it is first
//! resolved, and a hash that is written down here would be a promise about files that nobody has looked at.

/// One repository that a preset names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Curated {
    /// As agents name it: a repository, or OWNER/NAME/FILE.gguf.
    pub model: &'static str,
    /// "Qwen2.5 14B Instruct".
    pub title: &'static str,
    pub summary: &'static str,
    /// As the Hub has it.
    pub licence: &'static str,
    /// Bytes of all that is fetched, where they were read from the list of files.
    pub download: Option<u64>,
    /// Weights as a count, and those that a token goes through.
    pub parameters: u64,
    pub active: u64,
}

/// Those of `model`, in whatever case.
pub fn curated(model: &str) -> Option<&'static Curated> {
    CURATED.iter().find(|c| c.model.eq_ignore_ascii_case(model))
}

/// All of them, the smallest household's last.
pub fn all() -> &'static [Curated] {
    CURATED
}

const fn dense(
    model: &'static str,
    title: &'static str,
    summary: &'static str,
    licence: &'static str,
    download: Option<u64>,
    parameters: u64,
) -> Curated {
    Curated { model, title, summary, licence, download, parameters, active: parameters }
}

const MILLION: u64 = 1_000_000;

const CURATED: &[Curated] = &[
    dense(
        "Qwen/Qwen2.5-14B-Instruct-AWQ",
        "Qwen2.5 14B Instruct",
        "Dense 14B that follows instructions and calls tools well.",
        "apache-2.0",
        Some(9_980_000_000),
        14_770 * MILLION,
    ),
    Curated {
        model: "QuantTrio/Qwen3-Coder-30B-A3B-Instruct-AWQ",
        title: "Qwen3 Coder 30B A3B Instruct",
        summary: "Mixture of experts for code, 3.3B active. Long context, fast for its size.",
        licence: "apache-2.0",
        download: None,
        parameters: 30_530 * MILLION,
        active: 3_300 * MILLION,
    },
    dense(
        "casperhansen/llama-3.3-70b-instruct-awq",
        "Llama 3.3 70B Instruct",
        "Dense 70B for hard questions; slow where memory is slow.",
        "llama3.3",
        Some(39_800_000_000),
        70_550 * MILLION,
    ),
    dense(
        "Qwen/Qwen2.5-3B-Instruct-AWQ",
        "Qwen2.5 3B Instruct",
        "Dense 3B for short and frequent work.",
        "qwen-research",
        None,
        3_090 * MILLION,
    ),
    dense(
        "Qwen/Qwen2.5-7B-Instruct-AWQ",
        "Qwen2.5 7B Instruct",
        "Dense 7B, quick and good enough for reviews.",
        "apache-2.0",
        Some(5_570_000_000),
        7_620 * MILLION,
    ),
    dense(
        "Qwen/Qwen2.5-14B-Instruct",
        "Qwen2.5 14B Instruct",
        "Dense 14B as it was published, in 16 bits.",
        "apache-2.0",
        Some(29_500_000_000),
        14_770 * MILLION,
    ),
    Curated {
        model: "Qwen/Qwen3-Coder-30B-A3B-Instruct",
        title: "Qwen3 Coder 30B A3B Instruct",
        summary: "Mixture of experts for code, 3.3B active, as it was published, in 16 bits.",
        licence: "apache-2.0",
        download: Some(61_060_000_000),
        parameters: 30_530 * MILLION,
        active: 3_300 * MILLION,
    },
    Curated {
        model: "cpatonn/Qwen3-Next-80B-A3B-Instruct-AWQ-4bit",
        title: "Qwen3 Next 80B A3B Instruct",
        summary: "Mixture of experts, 3B active. Long context, fast for its size.",
        licence: "apache-2.0",
        download: None,
        parameters: 80_000 * MILLION,
        active: 3_000 * MILLION,
    },
    dense(
        "unsloth/Llama-3.3-70B-Instruct-GGUF/Llama-3.3-70B-Instruct-Q4_K_M.gguf",
        "Llama 3.3 70B Instruct",
        "Dense 70B for hard questions, as a GGUF file.",
        "llama3.3",
        Some(42_520_398_432),
        70_550 * MILLION,
    ),
    Curated {
        model: "unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF/Qwen3-Coder-30B-A3B-Instruct-Q4_K_M.gguf",
        title: "Qwen3 Coder 30B A3B Instruct",
        summary: "Mixture of experts for code, 3.3B active, as a GGUF file.",
        licence: "apache-2.0",
        download: Some(18_556_689_568),
        parameters: 30_530 * MILLION,
        active: 3_300 * MILLION,
    },
    dense(
        "bartowski/Qwen2.5-14B-Instruct-GGUF/Qwen2.5-14B-Instruct-Q4_K_M.gguf",
        "Qwen2.5 14B Instruct",
        "Dense 14B that follows instructions well, as a GGUF file.",
        "apache-2.0",
        Some(8_988_110_976),
        14_770 * MILLION,
    ),
    dense(
        "bartowski/Qwen2.5-7B-Instruct-GGUF/Qwen2.5-7B-Instruct-Q4_K_M.gguf",
        "Qwen2.5 7B Instruct",
        "Dense 7B, quick on a GPU and bearable without one.",
        "apache-2.0",
        Some(4_683_074_240),
        7_620 * MILLION,
    ),
    dense(
        "bartowski/Qwen2.5-3B-Instruct-GGUF/Qwen2.5-3B-Instruct-Q4_K_M.gguf",
        "Qwen2.5 3B Instruct",
        "Dense 3B for short and frequent work, on the processor too.",
        "qwen-research",
        Some(1_929_903_264),
        3_090 * MILLION,
    ),
    dense(
        "Qwen/Qwen2.5-1.5B-Instruct-GGUF/qwen2.5-1.5b-instruct-q4_k_m.gguf",
        "Qwen2.5 1.5B Instruct",
        "Dense 1.5B for machines with little memory.",
        "apache-2.0",
        Some(1_117_320_736),
        1_540 * MILLION,
    ),
    dense(
        "Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_k_m.gguf",
        "Qwen2.5 0.5B Instruct",
        "Dense 0.5B to try things out with.",
        "apache-2.0",
        Some(491_400_032),
        490 * MILLION,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;
    use crate::licence::licence;

    #[test]
    fn every_known_model_is_curated_and_the_other_way_round() {
        for known in catalog::all() {
            let of = curated(known.id).unwrap_or_else(|| panic!("{} is not here", known.id));
            assert!(licence(of.licence).is_some(), "{}", of.licence);
            assert!(of.active <= of.parameters);
            // What is fetched is what is loaded, within a tenth (a table of embeddings may be in the files twice).
            if let Some(download) = of.download {
                let ratio = download as f64 / known.weights.0 as f64;
                assert!((0.98..1.1).contains(&ratio), "{}: {ratio}", known.id);
            }
        }
        assert_eq!(all().len(), catalog::all().len());
    }
}
