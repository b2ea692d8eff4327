//! The commands and their arguments. One that does nothing yet is not here.

mod models;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use models::{ModelsCommand, PullArgs, RemoveArgs, SearchArgs, Sort};

#[derive(Debug, Parser)]
#[command(
    name = "asgard",
    version,
    about = "Asgard: a household of local models that share one machine's memory",
    after_help = "Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 the controller or the engine cannot be reached.",
    subcommand_required = true,
    arg_required_else_help = true,
    infer_subcommands = false
)]
pub(crate) struct Args {
    /// One JSON document on stdout and nothing else there; streams print one a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the controller: engines, gateway, control socket and tray
    Serve(ServeArgs),
    /// What runs, and what it holds
    Status {
        /// Again whenever something changes
        #[arg(long)]
        watch: bool,
        /// Draw what memory was used for to this file, .svg or .png; a file that is there is overwritten
        #[arg(long, value_name = "FILE", conflicts_with = "watch")]
        plot: Option<PathBuf>,
        #[command(flatten)]
        how: PlotArgs,
    },
    /// What a switch would do, without doing it
    Plan(PlanArgs),
    /// Make a profile's agents awake and nobody else; Ctrl-C cancels and undoes
    Switch { profile: String },
    /// Start the named profile, else the active one
    Up { profile: Option<String> },
    /// Stop every agent
    Down,
    /// Start an agent
    Start { agent: String },
    /// Stop an agent
    Stop { agent: String },
    /// Stop an agent and start it again
    Restart {
        agent: String,
        /// When nobody uses it any more; returns at once, and the controller remembers it
        #[arg(long, conflicts_with = "take_back")]
        when_idle: bool,
        /// Not, after all, where it waits for that
        #[arg(long)]
        take_back: bool,
    },
    /// Give the memory to a game or a build: what is idle sleeps until the hours are over, or until resume
    Yield { hours: Option<f64> },
    /// Take the memory back: who was awake before wakes again
    Resume,
    /// One line for each agent
    Health {
        /// Ask each for a streamed answer and a tool call
        #[arg(long)]
        deep: bool,
    },
    /// How fast agents answer: medians over five prompts, streamed through Bifrost
    Bench(BenchArgs),
    /// What a model takes of memory, and where it would fit
    Estimate(EstimateArgs),
    /// Models: what is here, what the Hub has, downloads
    Models {
        #[command(subcommand)]
        what: ModelsCommand,
    },
    /// The log of an agent
    Logs {
        agent: String,
        /// Go on with each new line
        #[arg(short, long)]
        follow: bool,
        /// How many of the last lines
        #[arg(short = 'n', long, value_name = "N")]
        lines: Option<u32>,
    },
    /// Talk to an agent: one answer, or a conversation without PROMPT
    Chat {
        agent: String,
        /// What to say; several words are one message
        prompt: Vec<String>,
    },
    /// Shipped stacks
    Preset {
        #[command(subcommand)]
        what: PresetCommand,
    },
    /// A stack out of compose files, a .env, or somebody else's stack file
    Import {
        #[command(subcommand)]
        what: ImportWhat,
    },
    /// The stack in another form, or what a coding tool needs to use the agents
    Export(ExportArgs),
    /// Model servers that run here and that Asgard did not start
    Neighbours {
        #[command(subcommand)]
        what: NeighboursCommand,
    },
    /// The session of the summon budgets
    Session {
        #[command(subcommand)]
        what: SessionCommand,
    },
    /// Keys for tools: with the first, every request to the gateway has to bring one
    Keys {
        #[command(subcommand)]
        what: KeysCommand,
    },
    /// Container images: digests, versions, newer ones
    Images {
        #[command(subcommand)]
        what: ImagesCommand,
    },
    /// Whether this machine is ready, and how to mend what is not; nothing is changed
    Doctor {
        /// Also write a text to send to somebody who helps, without secrets; no file is overwritten
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// The stack file
    Config {
        #[command(subcommand)]
        what: ConfigCommand,
    },
}

#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "four flags that have nothing to do with each other")]
pub(crate) struct ServeArgs {
    /// Play with stand-ins: megabytes for gigabytes, folders of its own
    #[arg(long)]
    pub(crate) rehearsal: bool,
    /// Do what the settings say is to be done after login
    #[arg(long)]
    pub(crate) after_login: bool,
    /// No icon in the tray
    #[arg(long)]
    pub(crate) no_tray: bool,
    /// Leave the terminal it was started from: for the commands that start a controller.
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PlotArgs {
    /// With --plot: how far back, up to 8784 (a year)
    #[arg(long, value_name = "N", default_value_t = 24.0, requires = "plot")]
    pub(crate) hours: f64,
    /// With --plot: dark on light, for paper
    #[arg(long, requires = "plot")]
    pub(crate) light: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PlanArgs {
    pub(crate) profile: String,
    /// Plan from this profile, or from the state in a status document
    #[arg(long, value_name = "PROFILE|FILE.json")]
    pub(crate) from: Option<String>,
    /// Plan with this stack file
    #[arg(long, value_name = "FILE")]
    pub(crate) stack: Option<PathBuf>,
    /// What if this agent had another context, sequences, KV type or KV cache
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: Option<String>,
    /// Tokens; 32K is 32768
    #[arg(long, value_name = "N", requires = "agent", value_parser = tokens)]
    pub(crate) context: Option<u32>,
    #[arg(long, value_name = "N", requires = "agent")]
    pub(crate) sequences: Option<u32>,
    #[arg(long, value_name = "T", requires = "agent")]
    pub(crate) kv_dtype: Option<String>,
    /// As in the stack file: "12 GB"; left out, it grows and shrinks with the others
    #[arg(long, value_name = "SIZE", requires = "agent")]
    pub(crate) kv_cache: Option<String>,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct EstimateArgs {
    /// A Hub id in the cache, a folder, a .gguf file, a config.json, a list of files
    #[arg(value_name = "MODEL|DIR|FILE.gguf|config.json")]
    pub(crate) model: String,
    /// Tokens of one sequence; 32K is 32768
    #[arg(long, value_name = "N", value_parser = tokens)]
    pub(crate) context: Option<u32>,
    /// Sequences at once
    #[arg(long, value_name = "N")]
    pub(crate) sequences: Option<u32>,
    /// Devices that share it
    #[arg(long, value_name = "N")]
    pub(crate) tensor_parallel: Option<u32>,
    /// As the server's own flag spells it: fp8, q8_0
    #[arg(long, value_name = "T")]
    pub(crate) kv_dtype: Option<String>,
    /// Where the model's own files do not say it: awq, gptq, fp8
    #[arg(long, value_name = "Q")]
    pub(crate) quantization: Option<String>,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BenchArgs {
    #[arg(value_name = "AGENT", required_unless_present = "compare")]
    pub(crate) agents: Vec<String>,
    /// Two agents beside one another in one table
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with = "agents")]
    pub(crate) compare: Option<Vec<String>>,
    /// Tokens a second that each must reach; one that does not makes the answer no
    #[arg(long, value_name = "TOKENS_PER_SECOND", value_parser = rate)]
    pub(crate) target: Option<f64>,
    /// Start who sleeps, one after the other where they do not fit together
    #[arg(long)]
    pub(crate) start: bool,
}

impl BenchArgs {
    /// Whom to measure, each once, in the order they were named.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in self.compare.iter().flatten().chain(&self.agents) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}

/// Tokens a second: more than none.
fn rate(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
    number.ok_or_else(|| format!("{text} is no number of tokens a second"))
}

/// A number of tokens: "32768", "32K".
pub(crate) fn tokens(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let (digits, times) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1024_u32),
        None => (text, 1),
    };
    let number: u32 = digits.trim().parse().map_err(|_| format!("{text} is no number of tokens"))?;
    number.checked_mul(times).filter(|n| *n > 0).ok_or_else(|| format!("{text} is no number of tokens"))
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Where the stack file is
    Path,
    /// Whether it holds, with file, line and what to write
    Check,
    /// Its JSON Schema
    Schema,
    /// Open it in $VISUAL or $EDITOR, then check it
    Edit,
    /// The command that an agent is started with, and why each flag has its value
    Command { agent: String },
    /// Show what an imported stack would run, and let it
    Confirm,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PresetCommand {
    /// The presets, and whether each fits this machine
    List,
    /// Make one the stack; the file that is there is kept
    Use {
        name: String,
        /// Print it, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Where an import goes; neither: the stack file is printed.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ImportTo {
    /// Make it the stack; the file that is there is kept, and nothing starts until it is confirmed
    #[arg(long, conflicts_with = "out")]
    pub(crate) write: bool,
    /// Write it to a new file
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ImportWhat {
    /// Compose files, the later ones over the earlier ones
    Compose {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The .env with their variables
        #[arg(long, value_name = "FILE")]
        env: Option<PathBuf>,
        #[command(flatten)]
        to: ImportTo,
    },
    /// The .env of strix-opencode
    Env {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        to: ImportTo,
    },
    /// A stack file of somebody else
    Stack {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        to: ImportTo,
    },
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ExportArgs {
    pub(crate) what: ExportWhat,
    /// Write instead of printing: new files, or, of opencode and oh-my-opencode, your own file with a backup
    #[arg(long)]
    pub(crate) write: bool,
    /// The folder of a project: compose and env are written into it, opencode and oh-my-opencode into its .opencode
    #[arg(long, value_name = "DIR")]
    pub(crate) project: Option<PathBuf>,
    /// Who leads in a coding tool; left out, who leads there now
    #[arg(long, value_name = "AGENT|cloud:PROVIDER/MODEL")]
    pub(crate) primary: Option<String>,
    /// The gateway key that a coding tool shall use
    #[arg(long, value_name = "NAME")]
    pub(crate) key: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExportWhat {
    Compose,
    Env,
    #[value(name = "opencode")]
    OpenCode,
    /// Or oh-my-openagent, its other name
    #[value(alias = "oh-my-openagent")]
    OhMyOpencode,
    Codex,
    ClaudeCode,
    Zed,
    Continue,
    Cline,
    Aider,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum NeighboursCommand {
    List,
    /// Show, route to and count it; it is never restarted
    Adopt {
        id: String,
        /// The agent that it serves; left out, the one whose place it has
        #[arg(long = "as", value_name = "AGENT")]
        agent: Option<String>,
        /// Of Ollama's models, this one
        #[arg(long)]
        model: Option<String>,
    },
    /// Stop it, without removing it
    Stop {
        id: String,
        /// Then start the agent whose place it had
        #[arg(long)]
        take_place: bool,
    },
    /// Leave it alone, and do not ask again
    Leave {
        id: String,
    },
    /// Take back what was answered
    Undo {
        id: String,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum SessionCommand {
    /// Let tools wake agents as often again as the budgets say
    New,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum KeysCommand {
    /// Their names, what they open, and when each was last used
    List,
    /// Make one, and print it
    New {
        name: String,
        /// The agents that it opens, with commas between; left out, all of them
        #[arg(long, value_name = "AGENT", value_delimiter = ',')]
        agents: Vec<String>,
    },
    /// Print one, for the tool's own configuration
    Show { name: String },
    /// From then on it opens nothing
    Remove { name: String },
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ImagesCommand {
    List,
    /// Ask the registries for newer ones
    Check,
    /// Try the newer image on one agent, and keep it if it answers
    Try {
        reference: String,
        agent: String,
    },
    /// Back to the one before
    Undo {
        reference: String,
    },
    /// Remove one that no agent uses
    Remove {
        reference: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn what_is_not_due_is_not_shown() {
        use clap::CommandFactory as _;
        let help = Args::command().render_long_help().to_string();
        for due in [
            "serve",
            "status",
            "estimate",
            "models",
            "plan",
            "switch",
            "up",
            "down",
            "start",
            "stop",
            "restart",
            "yield",
            "resume",
            "health",
            "bench",
            "logs",
            "chat",
            "preset",
            "import",
            "export",
            "neighbours",
            "session",
            "keys",
            "images",
            "doctor",
            "config",
        ] {
            assert!(help.contains(&format!("\n  {due} ")), "{due} is missing:\n{help}");
        }
        assert!(!help.contains("  stand-in"), "it is no command for people:\n{help}");
    }

    #[test]
    fn a_measurement_names_agents_or_two_to_compare() {
        let read = |line: &str| match Args::try_parse_from(line.split(' ')).map(|args| args.command) {
            Ok(Command::Bench(ask)) => Some((ask.names().join(" "), ask.target)),
            _ => None,
        };
        assert_eq!(read("asgard bench thor odin thor"), Some(("thor odin".to_owned(), None)));
        assert_eq!(read("asgard bench thor --target 5"), Some(("thor".to_owned(), Some(5.0))));
        assert_eq!(read("asgard bench --compare odin thor"), Some(("odin thor".to_owned(), None)));
        for wrong in [
            "asgard bench",
            "asgard bench --compare odin",
            "asgard bench thor --target 0",
            "asgard bench thor --target nan",
            "asgard bench thor --target -1",
            "asgard bench loki --compare odin thor",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_key_opens_the_agents_that_are_named() {
        let agents = |line: &str| match Args::try_parse_from(line.split(' ')).unwrap().command {
            Command::Keys { what: KeysCommand::New { agents, .. } } => agents,
            other => panic!("{other:?}"),
        };
        assert_eq!(agents("asgard keys new zed --agents thor,odin"), ["thor", "odin"]);
        assert_eq!(agents("asgard keys new zed --json"), Vec::<String>::new());
    }

    #[test]
    fn several_words_are_one_message_and_json_may_come_last() {
        let args = Args::try_parse_from(["asgard", "chat", "thor", "hello", "there", "--json"]).unwrap();
        assert!(args.json);
        assert!(matches!(args.command, Command::Chat { prompt, .. } if prompt == ["hello", "there"]));
    }
}
