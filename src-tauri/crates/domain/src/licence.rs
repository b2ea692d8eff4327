//! Licences as the Hub names them: what a person calls them, and whether they are open.
//!
//! Open means what the Open Source Initiative means by it, of software: use for anything by anybody. A licence that
//! forbids a use, a user or competing models is not, however freely the files can be fetched. What is not in the table
//! is not judged.

/// What is known of one licence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Licence {
    /// As the Hub has it, "apache-2.0".
    pub id: &'static str,
    /// "Apache 2.0".
    pub title: &'static str,
    pub open: bool,
}

const fn open(id: &'static str, title: &'static str) -> Licence {
    Licence { id, title, open: true }
}

const fn closed(id: &'static str, title: &'static str) -> Licence {
    Licence { id, title, open: false }
}

const LICENCES: &[Licence] = &[
    open("apache-2.0", "Apache 2.0"),
    open("mit", "MIT"),
    open("bsd", "BSD"),
    open("bsd-2-clause", "BSD 2-Clause"),
    open("bsd-3-clause", "BSD 3-Clause"),
    open("isc", "ISC"),
    open("mpl-2.0", "MPL 2.0"),
    open("gpl-3.0", "GPL 3.0"),
    open("agpl-3.0", "AGPL 3.0"),
    open("lgpl-3.0", "LGPL 3.0"),
    open("unlicense", "Unlicense"),
    open("cc0-1.0", "CC0 1.0"),
    open("cc-by-4.0", "CC BY 4.0"),
    open("cc-by-sa-4.0", "CC BY-SA 4.0"),
    closed("cc-by-nc-4.0", "CC BY-NC 4.0"),
    closed("cc-by-nc-sa-4.0", "CC BY-NC-SA 4.0"),
    closed("cc-by-nc-nd-4.0", "CC BY-NC-ND 4.0"),
    closed("openrail", "OpenRAIL"),
    closed("bigscience-openrail-m", "BigScience OpenRAIL-M"),
    closed("bigcode-openrail-m", "BigCode OpenRAIL-M"),
    closed("creativeml-openrail-m", "CreativeML OpenRAIL-M"),
    closed("llama2", "Llama 2"),
    closed("llama3", "Llama 3"),
    closed("llama3.1", "Llama 3.1"),
    closed("llama3.2", "Llama 3.2"),
    closed("llama3.3", "Llama 3.3"),
    closed("llama4", "Llama 4"),
    closed("gemma", "Gemma"),
    closed("deepseek", "DeepSeek"),
    closed("qwen", "Qwen"),
    closed("qwen-research", "Qwen Research"),
    closed("tongyi-qianwen", "Tongyi Qianwen"),
    closed("mrl", "Mistral Research"),
    closed("mistral-ai-research-licence", "Mistral Research"),
    closed("cohere", "Cohere"),
    closed("nvidia-open-model-license", "NVIDIA Open Model"),
];

/// The licence of that id, in whatever case.
pub fn licence(id: &str) -> Option<Licence> {
    LICENCES.iter().find(|l| l.id.eq_ignore_ascii_case(id.trim())).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_a_name_and_a_verdict() {
        assert_eq!(licence("Apache-2.0").map(|l| (l.title, l.open)), Some(("Apache 2.0", true)));
        assert_eq!(licence("llama3.3").map(|l| l.open), Some(false));
        assert_eq!(licence("<script>"), None);
        let mut ids: Vec<&str> = LICENCES.iter().map(|l| l.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), LICENCES.len());
    }
}
