//! The ways in which a stand-in misbehaves on request (`ASGARD_REHEARSAL_FAULT`: names between commas, each
//! for every agent, or as `odin=NAME` for one).
//!
//! Each failing start prints a text that a real server prints, with the log around it; what is printed is in the
//! dialects' own files. Here are the names, and the part of the text by which each is recognised.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Prints its text and ends: 2 for wrong arguments, else 1.
    FailAtStart,
    /// Dies at the first generation.
    CrashFirstRequest,
    /// Answers with exclamation marks only.
    Garbage,
    /// Answers without a token.
    Empty,
    /// Dies in the middle of the first answer that is longer than eight tokens.
    DieMidStream,
    /// Goes on after SIGTERM and SIGINT.
    IgnoreSigterm,
    /// Ends without a word half-way through loading.
    ExitWhileLoading,
    /// Stops half-way through loading, and lives.
    HangLoading,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub name: &'static str,
    pub kind: Kind,
    /// What vLLM's log then contains; `None` where the failure is not one of vLLM's.
    pub vllm_says: Option<&'static str>,
    /// What llama.cpp's log then contains; `None` where the failure is not one of llama.cpp's.
    pub llama_says: Option<&'static str>,
}

const fn fails(
    name: &'static str,
    vllm_says: Option<&'static str>,
    llama_says: Option<&'static str>,
) -> Fault {
    Fault { name, kind: Kind::FailAtStart, vllm_says, llama_says }
}

const fn behaves(name: &'static str, kind: Kind) -> Fault {
    Fault { name, kind, vllm_says: None, llama_says: None }
}

/// Every fault there is.
pub const ALL: &[Fault] = &[
    fails("fail:free-memory", Some("is less than desired GPU memory utilization"), None),
    fails("fail:no-kv-memory", Some("No available memory for the cache blocks"), None),
    fails("fail:kv-too-small", Some("To serve at least one request with the model"), None),
    fails("fail:auto-fit", Some("Cannot auto-fit max_model_len"), None),
    fails("fail:context-too-long", Some("is greater than the derived max_model_len"), None),
    fails("fail:profiling", Some("Error in memory profiling"), None),
    fails("fail:quantization", Some("quantization is currently not supported in rocm"), None),
    fails("fail:dtype", Some("is not supported for quantization method awq. Supported dtypes"), None),
    fails("fail:fp8", Some("torch._scaled_mm"), None),
    fails("fail:memory-fault", Some("Memory access fault by GPU node-1"), None),
    fails("fail:oom", Some("HIP out of memory"), Some("insufficient memory (attempted to allocate")),
    fails("fail:gated", Some("GatedRepoError"), None),
    fails("fail:forbidden", Some("403 Client Error"), None),
    fails("fail:bad-model-id", Some("Invalid repository ID or local directory specified"), None),
    fails("fail:bad-path", Some("Repo id must be in the form"), None),
    fails("fail:no-weights", Some("Cannot find any model weights with"), None),
    fails("fail:not-cached", Some("Cannot find an appropriate cached snapshot folder"), None),
    fails("fail:tool-parser-missing", Some("--enable-auto-tool-choice requires --tool-call-parser"), None),
    fails("fail:tool-parser-unknown", Some("invalid tool call parser"), None),
    fails("fail:bad-args", Some("unrecognized arguments"), Some("error: invalid argument:")),
    fails("fail:engine-core", Some("Engine core initialization failed. See root cause above"), None),
    fails("fail:port-in-use", Some("Address already in use"), Some("couldn't bind HTTP server socket")),
    fails(
        "fail:truncated",
        Some("incomplete metadata, file not fully covered"),
        Some("model is corrupted or incomplete"),
    ),
    fails("fail:missing-file", None, Some("failed to open GGUF file")),
    fails("fail:not-gguf", None, Some("invalid magic characters")),
    behaves("crash-first-request", Kind::CrashFirstRequest),
    behaves("garbage", Kind::Garbage),
    behaves("empty", Kind::Empty),
    behaves("die-mid-stream", Kind::DieMidStream),
    behaves("ignore-sigterm", Kind::IgnoreSigterm),
    behaves("exit-while-loading", Kind::ExitWhileLoading),
    behaves("hang-loading", Kind::HangLoading),
];

/// The fault of that name.
pub fn named(name: &str) -> Option<&'static Fault> {
    ALL.iter().find(|fault| fault.name == name)
}
