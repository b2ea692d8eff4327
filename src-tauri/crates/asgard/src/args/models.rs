//! `asgard models` and its words.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ModelsCommand {
    /// What is in the cache, whoever put it there
    List,
    /// Search the Hub
    Search(SearchArgs),
    /// A repository of the Hub: its variants, and which of them run here
    Info {
        #[arg(value_name = "OWNER/NAME")]
        repo: String,
        #[arg(long, value_name = "R")]
        revision: Option<String>,
        /// Every file of it
        #[arg(long)]
        files: bool,
    },
    /// Download a model into the cache; Ctrl-C pauses, and the same command goes on
    Pull(PullArgs),
    /// What is being downloaded
    Downloads,
    /// Pause a download, or all of them
    Pause {
        #[arg(value_name = "ID|OWNER/NAME")]
        download: Option<String>,
    },
    /// Go on with a download, or with all of them
    Resume {
        #[arg(value_name = "ID|OWNER/NAME")]
        download: Option<String>,
    },
    /// Give a download up
    Cancel {
        #[arg(value_name = "ID|OWNER/NAME")]
        download: String,
        /// Leave what has arrived for a later try
        #[arg(long)]
        keep: bool,
    },
    /// Read models of the cache again, and compare them with their hashes; without a name, all of them
    Verify {
        #[arg(value_name = "MODEL")]
        models: Vec<String>,
    },
    /// Delete a model from the cache
    Remove(RemoveArgs),
    /// Take a folder or a .gguf file into the cache; the original stays
    Import {
        #[arg(value_name = "DIR|FILE.gguf")]
        path: PathBuf,
        /// What to call it; left out, a name is made from the file's
        #[arg(long = "as", value_name = "OWNER/NAME")]
        name: Option<String>,
    },
    /// Keep a token of the Hub: typed in without being shown, or from a pipe
    Login,
    /// Forget the token
    Logout,
    /// Whose token it is
    Whoami,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SearchArgs {
    /// Left out, what ships with Asgard's presets is shown
    pub(crate) text: Vec<String>,
    /// vllm or llama.cpp
    #[arg(long, value_name = "B", value_parser = ["vllm", "llama.cpp"])]
    pub(crate) backend: Option<String>,
    /// awq, gptq, gguf, bf16, ...
    #[arg(long, value_name = "Q")]
    pub(crate) quantization: Option<String>,
    /// Only what fits beside a profile or alone
    #[arg(long)]
    pub(crate) fits: bool,
    /// Only what is not known to fail on this machine's GPU
    #[arg(long)]
    pub(crate) works_here: bool,
    /// Only open licences
    #[arg(long)]
    pub(crate) open: bool,
    #[arg(long, value_enum, default_value_t = Sort::Trending)]
    pub(crate) sort: Sort,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) limit: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sort {
    Trending,
    Downloads,
    Likes,
    Updated,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PullArgs {
    /// Of one GGUF file, OWNER/NAME/FILE.gguf
    #[arg(value_name = "OWNER/NAME")]
    pub(crate) model: String,
    /// A branch, a tag or a commit
    #[arg(long, value_name = "R")]
    pub(crate) revision: Option<String>,
    /// One of several: Q4_K_M
    #[arg(long, value_name = "ID", conflicts_with = "files")]
    pub(crate) variant: Option<String>,
    /// Only these files; can be given several times
    #[arg(long = "file", value_name = "GLOB")]
    pub(crate) files: Vec<String>,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RemoveArgs {
    pub(crate) model: String,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Say what would go, and delete nothing
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Also where an agent is set to it, as long as it sleeps
    #[arg(long)]
    pub(crate) even_if_configured: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn read(line: &str) -> Option<ModelsCommand> {
        match Args::try_parse_from(line.split(' ')).ok()?.command {
            Command::Models { what } => Some(what),
            _ => None,
        }
    }

    #[test]
    fn the_words_are_read_as_they_are_meant() {
        let Some(ModelsCommand::Pull(pull)) =
            read("asgard models pull a/b --file *.json --file c --revision v1")
        else {
            panic!("it is a pull")
        };
        assert_eq!((pull.model.as_str(), pull.files.len(), pull.revision.as_deref()), ("a/b", 2, Some("v1")));
        let Some(ModelsCommand::Search(search)) = read(
            "asgard models search qwen coder --fits --works-here --open --sort likes --limit 5 --backend llama.cpp",
        ) else {
            panic!("it is a search")
        };
        assert_eq!(
            (search.text.join(" ").as_str(), search.limit, search.sort),
            ("qwen coder", 5, Sort::Likes)
        );
        assert!(search.fits && search.works_here && search.open);
        for wrong in [
            "asgard models",
            "asgard models pull",
            "asgard models pull a/b --variant x --file y",
            "asgard models search --limit 0",
            "asgard models search --limit 1000",
            "asgard models search --backend ollama",
            "asgard models search --sort best",
            "asgard models remove",
            "asgard models remove a --yes --dry-run",
            "asgard models login hf_secret",
        ] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
        assert!(
            matches!(read("asgard models verify"), Some(ModelsCommand::Verify { models }) if models.is_empty())
        );
    }
}
