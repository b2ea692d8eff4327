//! Settings that keep a part of a model off the GPU: of use where the GPU has memory of its own, and of none where it
//! shares the processor's.

use super::{Agent, BackendKind};

/// Why moving a part of the model to the processor gains nothing on unified memory, where the agent does so. The
/// caller knows that the memory is unified.
pub fn offload(agent: &Agent) -> Option<String> {
    let what = match agent.backend {
        BackendKind::Vllm => {
            ["--cpu-offload-gb", "--offload-backend"].into_iter().find(|flag| given(agent, flag))?.to_owned()
        }
        BackendKind::LlamaCpp => of_llama_cpp(agent)?,
        BackendKind::External | BackendKind::Ollama => return None,
    };
    Some(format!(
        "{what} gains nothing here: GPU and processor share one memory, so the same bytes stay in it and are only read \
         the slower way."
    ))
}

fn of_llama_cpp(agent: &Agent) -> Option<String> {
    const FLAGS: [&str; 10] = [
        "--n-cpu-moe",
        "-ncmoe",
        "--cpu-moe",
        "-cmoe",
        "--override-tensor",
        "-ot",
        "--no-kv-offload",
        "-nkvo",
        "--no-op-offload",
        "--n-cpu-moe-draft",
    ];
    // One that stays on the processor altogether is a choice of its own.
    if !agent.on_device() {
        return None;
    }
    if let Some(flag) = FLAGS.into_iter().find(|flag| given(agent, flag)) {
        return Some(flag.to_owned());
    }
    // Whether so few are a part of the model is not known here; a hundred are more than nearly all have.
    agent
        .gpu_layers
        .filter(|layers| *layers < 100)
        .map(|layers| format!("gpu_layers = {layers}, where it is fewer than the model has,"))
}

fn given(agent: &Agent, flag: &str) -> bool {
    agent.args.iter().any(|a| a.split('=').next().unwrap_or(a).replace('_', "-") == flag)
}
