//! Names and sentences for a person, made of names and counts of strangers.

/// Words at the end of a repository's name that are said elsewhere on its card.
const FORMATS: [&str; 26] = [
    "awq",
    "gptq",
    "gguf",
    "4bit",
    "8bit",
    "int4",
    "int8",
    "fp8",
    "bf16",
    "fp16",
    "w4a16",
    "w8a8",
    "w8a16",
    "bnb",
    "mxfp4",
    "nvfp4",
    "autoround",
    "quantized",
    "dynamic",
    "4-bit",
    "hf",
    "q4f16",
    "imatrix",
    "i1",
    "g128",
    "marlin",
];

/// "Qwen2.5 14B Instruct" of "Qwen/Qwen2.5-14B-Instruct-AWQ".
pub(crate) fn title(repo: &str) -> String {
    let name = repo.rsplit('/').next().unwrap_or(repo);
    let pieces: Vec<&str> = name.split(['-', '_']).filter(|p| !p.is_empty()).collect();
    let is_format = |piece: &&&str| FORMATS.contains(&piece.to_ascii_lowercase().as_str());
    let kept: Vec<String> = pieces.iter().filter(|p| !is_format(p)).map(|p| piece(p)).collect();
    if kept.is_empty() { name.to_owned() } else { kept.join(" ") }
}

/// "70b" is "70B", "llama" is "Llama".
fn piece(text: &str) -> String {
    if size(text).is_some() {
        return text.to_ascii_uppercase();
    }
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

/// A count of weights in a name: "14B", "0.5b", "A3B" (then only those that a token goes through).
fn size(piece: &str) -> Option<(f64, bool)> {
    let upper = piece.to_ascii_uppercase();
    let number = upper.strip_suffix('B')?;
    let (number, active) = number.strip_prefix('A').map_or((number, false), |n| (n, true));
    let plain = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let value: f64 = plain.then(|| number.parse().ok()).flatten()?;
    (0.01..10_000.0).contains(&value).then_some((value, active))
}

/// What a repository's name says of its size: all weights, and the active ones.
pub(super) fn sizes(repo: &str) -> (Option<u64>, Option<u64>) {
    let name = repo.rsplit('/').next().unwrap_or(repo);
    let found: Vec<(f64, bool)> = name.split(['-', '_']).filter_map(size).collect();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was looked at")]
    let of = |active: bool| found.iter().find(|(_, a)| *a == active).map(|(b, _)| (b * 1e9) as u64);
    (of(false), of(true))
}

/// "30B", "7.6B", "490M".
pub(super) fn count(weights: u64) -> String {
    let billions = weights as f64 / 1e9;
    match weights {
        0..1_000_000_000 => format!("{:.0}M", weights as f64 / 1e6),
        1_000_000_000..9_950_000_000 => {
            let text = format!("{billions:.1}");
            format!("{}B", text.strip_suffix(".0").unwrap_or(&text))
        }
        _ => format!("{billions:.0}B"),
    }
}

/// What is known of a model when a sentence is made of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known<'a> {
    pub(super) repo: &'a str,
    pub(super) parameters: Option<u64>,
    pub(super) active: Option<u64>,
    pub(super) context: Option<u32>,
    /// Whether its weights are as they were published, in 16 bits.
    pub(super) plain: bool,
}

/// One or two sentences of ours: "Mixture of experts, 3B active. Long context."
pub(super) fn summary(known: Known<'_>) -> String {
    let (by_name, active_by_name) = sizes(known.repo);
    let all = known.parameters.or(by_name);
    // A tenth less than all is a mixture; rounding alone is not.
    let active = known.active.or(active_by_name).filter(|a| all.is_none_or(|all| *a < all - all / 10));
    let lower = known.repo.to_ascii_lowercase();
    let purpose = match () {
        () if lower.contains("coder") || lower.contains("-code") => " for code",
        () if lower.contains("embed") => " that embeds texts",
        () if lower.contains("thinking") || lower.contains("qwq") || lower.contains("-r1") => {
            " that thinks before it answers"
        }
        () => "",
    };
    let first = match (all, active) {
        (Some(all), Some(active)) => {
            format!("Mixture of experts{purpose}, {} active of {}.", count(active), count(all))
        }
        (None, Some(active)) => format!("Mixture of experts{purpose}, {} active.", count(active)),
        (Some(all), None) => format!("Dense {}{purpose}.", count(all)),
        (None, None) => "A model whose size is not known yet.".to_owned(),
    };
    let dense = active.is_none();
    let second = if known.plain && dense && all.is_some_and(|n| n >= 7_000_000_000) {
        " Not quantised, so slow for its size."
    } else {
        ""
    };
    let third = match known.context {
        Some(context) if context >= 131_072 => " Long context.".to_owned(),
        Some(context) if context < 32_768 && context > 0 => {
            format!(
                " {} context at most.",
                if context >= 1024 { format!("{}K", context / 1024) } else { context.to_string() }
            )
        }
        _ => String::new(),
    };
    format!("{first}{second}{third}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_readable() {
        for (repo, expected) in [
            ("Qwen/Qwen2.5-14B-Instruct-AWQ", "Qwen2.5 14B Instruct"),
            ("casperhansen/llama-3.3-70b-instruct-awq", "Llama 3.3 70B Instruct"),
            ("cpatonn/Qwen3-Next-80B-A3B-Instruct-AWQ-4bit", "Qwen3 Next 80B A3B Instruct"),
            ("openai/gpt-oss-120b", "Gpt oss 120B"),
            ("o/AWQ", "AWQ"),
        ] {
            let made = title(repo);
            assert!(made.eq_ignore_ascii_case(expected), "{made}");
        }
    }

    #[test]
    fn a_sentence_says_what_it_is() {
        let of = |repo: &'static str| Known { repo, ..Known::default() };
        assert_eq!(summary(of("o/Qwen3-Next-80B-A3B")), "Mixture of experts, 3B active of 80B.");
        assert_eq!(summary(of("o/Qwen2.5-Coder-7B")), "Dense 7B for code.");
        assert_eq!(summary(of("o/mystery")), "A model whose size is not known yet.");
        let known = Known {
            parameters: Some(8_030_000_000),
            active: Some(8_030_000_000),
            context: Some(131_072),
            plain: true,
            ..of("meta-llama/Llama-3.1-8B-Instruct")
        };
        assert_eq!(summary(known), "Dense 8B. Not quantised, so slow for its size. Long context.");
        let short = Known { context: Some(16_384), ..of("microsoft/phi-4-14B") };
        assert_eq!(summary(short), "Dense 14B. 16K context at most.");
        assert_eq!(
            (count(490_000_000), count(7_620_000_000), count(30_530_000_000)),
            ("490M".into(), "7.6B".into(), "31B".into())
        );
    }
}
