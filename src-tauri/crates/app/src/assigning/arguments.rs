//! Options of a server's command line that were chosen for one model, and mean nothing or harm for another.

/// An option, and whether a value follows it.
const OF_A_MODEL: &[(&str, bool)] = &[
    // vLLM
    ("--quantization", true),
    ("-q", true),
    ("--dtype", true),
    ("--revision", true),
    ("--code-revision", true),
    ("--tokenizer", true),
    ("--tokenizer-mode", true),
    ("--tokenizer-revision", true),
    ("--hf-config-path", true),
    ("--hf-overrides", true),
    ("--config-format", true),
    ("--load-format", true),
    ("--rope-scaling", true),
    ("--rope-theta", true),
    ("--tool-call-parser", true),
    ("--tool-parser-plugin", true),
    ("--reasoning-parser", true),
    ("--speculative-config", true),
    ("--limit-mm-per-prompt", true),
    ("--mm-processor-kwargs", true),
    ("--override-generation-config", true),
    ("--model-impl", true),
    // Code of the old model's repository was trusted, not that of the next one.
    ("--trust-remote-code", false),
    ("--enable-expert-parallel", false),
    // Both
    ("--chat-template", true),
    // llama.cpp
    ("--chat-template-file", true),
    ("--mmproj", true),
    ("--override-kv", true),
    ("--override-tensor", true),
    ("-ot", true),
    ("--cpu-moe", false),
    ("--n-cpu-moe", true),
    ("-ncmoe", true),
    ("--rope-freq-base", true),
    ("--rope-freq-scale", true),
    ("--yarn-orig-ctx", true),
    ("--model-draft", true),
    ("-md", true),
    ("--lora", true),
    ("--lora-scaled", true),
    ("--reasoning-format", true),
];

/// The arguments that stay, and those that were of the old model, each with its value: "--quantization awq".
pub(super) fn divided(args: &[String]) -> (Vec<String>, Vec<String>) {
    let mut stay = Vec::new();
    let mut gone = Vec::new();
    let mut rest = args.iter().peekable();
    while let Some(arg) = rest.next() {
        let (name, joined) = match arg.split_once('=') {
            Some((name, _)) => (name, true),
            None => (arg.as_str(), false),
        };
        // vLLM takes underscores for hyphens.
        let name = if name.starts_with("--") { name.replace('_', "-") } else { name.to_owned() };
        let Some((_, valued)) = OF_A_MODEL.iter().find(|(known, _)| *known == name) else {
            stay.push(arg.clone());
            continue;
        };
        let mut words = arg.clone();
        if *valued
            && !joined
            && let Some(value) = rest.next_if(|next| !next.starts_with("--"))
        {
            words = format!("{words} {value}");
        }
        gone.push(words);
    }
    (stay, gone)
}

#[cfg(test)]
mod tests {
    use super::divided;

    #[test]
    fn options_of_the_old_model_go_with_their_values_and_others_stay() {
        let cases: &[(&[&str], &[&str], &[&str])] = &[
            (&[], &[], &[]),
            (&["--enforce-eager"], &["--enforce-eager"], &[]),
            (&["--quantization", "awq", "--seed", "1"], &["--seed", "1"], &["--quantization awq"]),
            (&["--quantization=awq", "--seed=1"], &["--seed=1"], &["--quantization=awq"]),
            (&["--rope_scaling", "{}"], &[], &["--rope_scaling {}"]),
            (&["--trust-remote-code", "--seed", "1"], &["--seed", "1"], &["--trust-remote-code"]),
            // A value that is missing takes no other option with it.
            (&["--chat-template", "--seed", "1"], &["--seed", "1"], &["--chat-template"]),
            (&["-ot", ".ffn_.*=CPU", "-fa", "on"], &["-fa", "on"], &["-ot .ffn_.*=CPU"]),
            (&["--quantization"], &[], &["--quantization"]),
        ];
        for (args, stay, gone) in cases {
            let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
            let (left, taken) = divided(&args);
            assert_eq!(
                (left.as_slice(), taken.as_slice()),
                (
                    stay.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>().as_slice(),
                    gone.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>().as_slice(),
                ),
                "{args:?}"
            );
        }
    }
}
