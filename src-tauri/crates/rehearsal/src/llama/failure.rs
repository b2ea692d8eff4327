//! Starts that fail, with the log a real one leaves.

use crate::args::Command;
use crate::log::Line;
use crate::server::FailedStart;

fn info(text: impl Into<String>) -> Line {
    Line::llama('I', text)
}

fn error(text: impl Into<String>) -> Line {
    Line::llama('E', text)
}

/// The last two lines of every failed start.
fn leaving(why: &str) -> [Line; 2] {
    [
        info("srv    operator(): operator(): cleaning up before exit..."),
        error(format!("srv  llama_server: exiting due to {why} error")),
    ]
}

/// The start that fails as `name` says.
pub(crate) fn start(name: &str, command: &Command) -> FailedStart {
    let model = &command.model;
    let loading = info(format!("srv    load_model: loading model '{model}'"));
    let at_once = |lines| FailedStart { after: 0.0, lines };
    match name {
        "fail:port-in-use" => at_once(port_in_use(command)),
        "fail:oom" => {
            let bytes = 184_320_000_000_u64;
            let mut lines = vec![
                error("ggml_aligned_malloc: insufficient memory (attempted to allocate 175781.25 MB)"),
                error(format!(
                    "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size {bytes}"
                )),
                error(
                    "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
                ),
                error(format!("cmn  common_init_: failed to create context with model '{model}'")),
                error(format!("srv    load_model: failed to create_context with model '{model}'")),
            ];
            lines.extend(leaving("model loading"));
            FailedStart { after: 0.6, lines }
        }
        "fail:missing-file" | "fail:not-gguf" | "fail:truncated" => {
            let cause = match name {
                "fail:missing-file" => error(format!(
                    "gguf_init_from_file: failed to open GGUF file '{model}' (No such file or directory)"
                )),
                "fail:not-gguf" => {
                    error("gguf_init_from_reader: invalid magic characters: '??8?', expected 'GGUF'")
                }
                _ => error(
                    "llama_model_load: error loading model: tensor 'token_embd.weight' data is not within the file \
                     bounds, model is corrupted or incomplete",
                ),
            };
            let mut lines = vec![loading, cause];
            if name != "fail:truncated" {
                lines.push(error(format!(
                    "llama_model_load: error loading model: llama_model_loader: failed to load model from {model}"
                )));
            }
            lines.extend([
                error("llama_model_load_from_file_impl: failed to load model"),
                error(format!("cmn  common_init_: failed to load model '{model}'")),
                error(format!("srv    load_model: failed to load model, '{model}'")),
            ]);
            lines.extend(leaving("model loading"));
            at_once(lines)
        }
        // Nothing that llama.cpp says: a failure of vLLM's was asked for.
        other => at_once(vec![Line::raw(format!(
            "The rehearsal was asked to play {other:?}, which llama.cpp does not say. Ask for one of its own failures."
        ))]),
    }
}

/// The port belongs to somebody else, played or met.
pub(crate) fn port_in_use(command: &Command) -> Vec<Line> {
    let mut lines = vec![error(format!(
        "srv         start: couldn't bind HTTP server socket, hostname: {}, port: {}",
        command.host, command.port
    ))];
    lines.extend(leaving("HTTP server"));
    lines
}
