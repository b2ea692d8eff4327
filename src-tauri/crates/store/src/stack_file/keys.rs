//! Every key of the stack file: its shape and what it means. One table serves the check of a file (with the line of
//! what is wrong), the hint for a misspelt key, and the JSON Schema. A test holds it against the types in `domain`.

/// What may stand at a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Text,
    /// One of these words. Which word is allowed is checked by `domain`; here they document.
    Word(&'static [&'static str]),
    Integer,
    Number,
    Flag,
    /// `"12 GB"`, or bytes.
    Size,
    /// `"20 min"`, or seconds.
    Time,
    /// A size, or a table of sizes by pool.
    Limit,
    Texts,
    /// A list of lists of texts.
    Groups,
    /// A table of texts under names of the user's choice.
    Named,
    /// A table with these keys.
    Table(&'static [Key]),
    /// Tables with these keys, under names of the user's choice.
    Tables(&'static [Key]),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) meaning: &'static str,
}

const fn key(name: &'static str, shape: Shape, meaning: &'static str) -> Key {
    Key { name, shape, meaning }
}

pub(super) const STACK: &[Key] = &[
    key("version", Shape::Integer, "The version of this format: 1."),
    key("name", Shape::Text, "The name of the stack."),
    key("base", Shape::Text, "The profile to return to."),
    key("conflicts", Shape::Groups, "Lists of agents of which no two are ever awake together."),
    key("memory", Shape::Table(MEMORY), "What may be used."),
    key("agents", Shape::Tables(AGENT), "The agents, by name: lower-case letters, digits and hyphens."),
    key("profiles", Shape::Tables(PROFILE), "Which agents are awake together, by the profile's name."),
    key("gateway", Shape::Table(GATEWAY), "Bifrost, the one address for every agent."),
];

const MEMORY: &[Key] = &[key(
    "limit",
    Shape::Limit,
    "The most that may be in use in all, other programs included; one size, or one for each pool. Left out: the \
     capacity less 8 GB.",
)];

const PROFILE: &[Key] = &[key("agents", Shape::Texts, "The agents that are awake in this profile.")];

const GATEWAY: &[Key] = &[
    key("listen", Shape::Text, "Address and port, \"127.0.0.1:8899\"."),
    key("max_body", Shape::Size, "The largest request body that is taken; left out, 96 MB."),
    key("hosts", Shape::Texts, "Names beside localhost under which it may be asked, \"box.lan\"."),
    key("wake", Shape::Flag, "Whether requests wake agents; left out, true."),
    key(
        "hold",
        Shape::Flag,
        "Whether requests that do not stream are held while their agent wakes; left out, true. Else they are told \
         when to ask again.",
    ),
    key(
        "queue_limit",
        Shape::Integer,
        "How many requests may wait for one agent; left out, 32. 0 means no limit.",
    ),
    key(
        "max_streams",
        Shape::Integer,
        "How many streams may be open at once; left out, 1024. 0 means no limit.",
    ),
    key(
        "odin_ttl",
        Shape::Time,
        "After so long without a request reviewers without a `ttl` sleep again; left out, 20 min. 0 means never.",
    ),
    key(
        "odin_cooldown",
        Shape::Time,
        "So long after it fell asleep tools cannot summon a reviewer; left out, 10 min. 0 means no wait.",
    ),
    key(
        "session_budget_odin",
        Shape::Integer,
        "How often tools may summon reviewers in one session; left out, 3. 0 means no limit.",
    ),
    key(
        "session_budget_utility",
        Shape::Integer,
        "How often tools may summon utility agents in one session, together; left out, 10. 0 means no limit.",
    ),
    key(
        "health_timeout",
        Shape::Time,
        "How long a summon call waits for its answer; left out, 300 s. The start goes on after it. 0 means no limit.",
    ),
    key(
        "keys",
        Shape::Tables(KEY),
        "The keys of tools, by name: lower-case letters, digits and hyphens. With any of them every request has to \
         bring one. The secrets themselves are kept elsewhere.",
    ),
];

const KEY: &[Key] =
    &[key("agents", Shape::Texts, "The agents that this key may use; left out, all of them.")];

const AGENT: &[Key] = &[
    key("name", Shape::Text, "The name for a person; left out, the agent's own with a capital."),
    key("title", Shape::Text, "What it is, in a word or two."),
    key("role", Shape::Text, "The prompt it is given in chats."),
    key("tier", Shape::Word(&["primary", "coder", "reviewer", "utility"]), "Whose budget it counts on."),
    key("backend", Shape::Word(&["vllm", "llama.cpp", "ollama", "external"]), "The model server it runs on."),
    key(
        "engine",
        Shape::Word(&["container", "process", "external", "ollama"]),
        "How it is run; left out, it follows from `image`, `command` and `endpoint`.",
    ),
    key(
        "command",
        Shape::Texts,
        "For a local process: the program and the arguments before the backend's own.",
    ),
    key(
        "endpoint",
        Shape::Text,
        "For a server that runs already: its address, \"http://127.0.0.1:8080/v1\".",
    ),
    key(
        "model",
        Shape::Text,
        "A model id of the Hub, OWNER/NAME/FILE.gguf of a file there, the path of a GGUF file, or a tag of Ollama.",
    ),
    key("revision", Shape::Text, "A commit, tag or branch of the model."),
    key("image", Shape::Text, "The container image; best with a digest."),
    key(
        "host_ipc",
        Shape::Flag,
        "Share the host's IPC instead of a private one. Only where an image needs it.",
    ),
    key("port", Shape::Integer, "Its port on 127.0.0.1; one agent each."),
    key("context", Shape::Integer, "The longest conversation, in tokens."),
    key("sequences", Shape::Integer, "How many requests it works on at once."),
    key("weights", Shape::Size, "What the weights take; known for the shipped models and for GGUF files."),
    key("overhead", Shape::Size, "What its server takes besides weights and KV cache."),
    key("kv_cache", Shape::Size, "The KV cache: this, `memory` or `share`, exactly one."),
    key("memory", Shape::Size, "The whole claim in one size."),
    key("share", Shape::Number, "The whole claim as a share of the pool, 0 to 1."),
    key("dtype", Shape::Text, "The type of the weights in memory, \"float16\"."),
    key("quantization", Shape::Text, "The quantization; left out, the server finds out."),
    key("kv_dtype", Shape::Text, "The type of the KV cache, \"auto\"."),
    key("tensor_parallel", Shape::Integer, "Over how many devices one model is split."),
    key("devices", Shape::Texts, "The pools it runs on."),
    key("tool_parser", Shape::Text, "How its tool calls are read, \"hermes\"."),
    key("draft_model", Shape::Text, "A small model for speculative decoding."),
    key("draft_tokens", Shape::Integer, "How many tokens the draft model writes ahead."),
    key(
        "batched_tokens",
        Shape::Integer,
        "The most tokens of one pass through the model: more is faster with long prompts and takes memory.",
    ),
    key(
        "prefix_caching",
        Shape::Flag,
        "vLLM: keep the beginnings that prompts share; left out, as the server does.",
    ),
    key("eager", Shape::Flag, "vLLM: no graphs, which saves memory and time at the start and costs speed."),
    key("attention_backend", Shape::Text, "vLLM: the attention kernels, \"TRITON_ATTN\"."),
    key("gpu_layers", Shape::Integer, "llama.cpp: how many layers the GPU holds, 0 for none; left out, all."),
    key(
        "load_mode",
        Shape::Word(&["none", "mmap", "mlock", "mmap+mlock", "dio"]),
        "llama.cpp: how the weights are read; left out, none: copied, not mapped.",
    ),
    key(
        "cache_ram",
        Shape::Size,
        "llama.cpp: ordinary memory for prompts that left their slot; left out, none, and counted in the claim.",
    ),
    key("args", Shape::Texts, "Further arguments of the server; not those that Asgard sets itself."),
    key(
        "env",
        Shape::Named,
        "Further environment variables of the server. No secrets: the file is not kept like one.",
    ),
    key("ttl", Shape::Time, "After so long without a request it sleeps again."),
    key(
        "drain",
        Shape::Time,
        "How long requests may finish before a stop; left out, 60 s. \"finish\": as long as they take; \"abort\": not \
         at all.",
    ),
    key("load_timeout", Shape::Time, "How long a start may take; left out, 30 min."),
    key(
        "request_timeout",
        Shape::Time,
        "How long one request may take in all; left out, as long as its client waits.",
    ),
    key("min_residency", Shape::Time, "How long it stays at least once it is awake."),
    key("pinned", Shape::Flag, "Stays awake through a switch."),
    key(
        "served_by",
        Shape::Text,
        "An agent on whose server this one is a role: with its own prompt and limits, and no memory.",
    ),
    key("glyph", Shape::Text, "The rune it is drawn with."),
    key("color", Shape::Text, "The colour it is drawn with."),
];

impl Shape {
    /// What is wanted, for a sentence.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::Text | Self::Word(_) => "a text in quotes",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Flag => "true or false",
            Self::Size => "a size",
            Self::Time => "a time",
            Self::Limit => "a size, or a table of sizes by pool",
            Self::Texts => "a list of texts",
            Self::Groups => "a list of lists of texts",
            Self::Named | Self::Table(_) | Self::Tables(_) => "a table",
        }
    }

    /// An example of what to write.
    pub(super) fn example(self) -> String {
        match self {
            Self::Text => "\"text\"".to_owned(),
            Self::Word(words) => words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(" or "),
            Self::Integer => "4".to_owned(),
            Self::Number => "0.25".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Size | Self::Limit => "\"12 GB\"".to_owned(),
            Self::Time => "\"20 min\"".to_owned(),
            Self::Texts => "[\"one\", \"two\"]".to_owned(),
            Self::Groups => "[[\"one\", \"two\"]]".to_owned(),
            Self::Named => "{ NAME = \"text\" }".to_owned(),
            Self::Table(_) | Self::Tables(_) => {
                "a table, [name], with its keys on the lines below".to_owned()
            }
        }
    }
}
