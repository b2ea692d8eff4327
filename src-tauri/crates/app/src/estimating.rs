//! What a model takes: from its files to the shape that the command and the window show.

use api::shapes::models::{Certainty, DeviceEstimate, Estimate, EstimateFit, EstimateRequest};
use api::{ApiError, Code};
use domain::Bytes;
use domain::estimate::{self, EstimateError, Request, Sureness};
use domain::plan::{Guest, Situation, beside};
use domain::stack::{BackendKind, Stack};
use models::Described;
use store::paths::Paths;

use crate::offline;
use crate::start::Options;

/// Nobody asks for a million tokens by saying nothing.
const USUAL_CONTEXT: u32 = 32_768;

/// With nothing running. A model that is not here is asked for at the Hub.
///
/// # Errors
/// A model that is not here or cannot be read, and a question without an answer.
pub async fn offline_estimate(options: &Options, asked: &EstimateRequest) -> Result<Estimate, ApiError> {
    let described = match describe(&options.paths, asked) {
        Err(error) if error.code == Code::Unknown => {
            crate::discover::offline_described(options, &asked.model, error).await?
        }
        here => here?,
    };
    // Without a stack that holds, or a machine that is known, the figures are all there is to say.
    let (stack, situation) = offline::ground(options).unzip();
    answer(&described, asked, stack.as_ref().zip(situation.as_ref()), options.scale())
}

pub(crate) fn describe(paths: &Paths, asked: &EstimateRequest) -> Result<Described, ApiError> {
    models::describe(&asked.model, &paths.hub, None).map_err(|error| {
        let next = error.next();
        // Where the reader of the format says both, the second sentence is what to do.
        let message = error.to_string();
        match (next, message.rsplit_once(". ")) {
            ("", Some((what, next))) => ApiError::new(Code::Failed, format!("{what}."), next),
            _ => ApiError::new(Code::Unknown, message, next),
        }
    })
}

/// `scale`: 1, and 1024 on the small machine of a rehearsal, whose models are that much smaller. What servers take beside
/// weights and cache is estimated for real ones, so it is divided.
pub(crate) fn answer(
    described: &Described,
    asked: &EstimateRequest,
    ground: Option<(&Stack, &Situation)>,
    scale: u64,
) -> Result<Estimate, ApiError> {
    let facts = &described.facts;
    let backend = if described.is_gguf { BackendKind::LlamaCpp } else { BackendKind::Vllm };
    let context = asked.context.or_else(|| facts.max_context.map(|most| most.min(USUAL_CONTEXT)));
    let request = Request {
        sequences: asked.sequences.unwrap_or(1),
        tensor_parallel: asked.tensor_parallel.unwrap_or(1),
        kv_dtype: asked.kv_dtype.clone(),
        quantization: asked.quantization.clone(),
        ..Request::one(backend, context)
    };
    let made = played(estimate::estimate(facts, &request).map_err(|error| wrong(&error))?, scale);
    // Of the model itself; what a device repeats stands with the device.
    let whole = Request { tensor_parallel: 1, ..request.clone() };
    let per_token =
        estimate::estimate(facts, &whole).map_or(made.kv_bytes_per_token, |e| e.kv_bytes_per_token);
    let guest = Guest {
        name: described.name.clone(),
        backend,
        total: made.total,
        tensor_parallel: request.tensor_parallel,
    };
    // A bound or less is no figure to promise by.
    let known = made.certainty.total() <= Sureness::Computed;
    let fits = ground.filter(|_| known).and_then(|(stack, situation)| beside(stack, situation, &guest).ok());
    Ok(Estimate {
        model: described.name.clone(),
        architecture: made.architecture,
        backend: backend.word().to_owned(),
        source: described.source.clone(),
        quantization: asked.quantization.clone().or_else(|| facts.quantization.clone()),
        context: made.context,
        max_context: facts.max_context,
        sequences: made.sequences,
        tensor_parallel: request.tensor_parallel,
        weights_bytes: made.weights.0,
        kv_bytes_per_token: per_token,
        kv_bytes: made.kv.0,
        state_bytes: made.state.0,
        overhead_bytes: made.overhead.0,
        total_bytes: made.total.0,
        per_device: made
            .per_device
            .iter()
            .map(|d| DeviceEstimate {
                device: d.device,
                weights_bytes: d.weights.0,
                kv_bytes_per_token: d.kv_bytes_per_token,
                kv_bytes: d.kv.0,
                state_bytes: d.state.0,
                overhead_bytes: d.overhead.0,
                total_bytes: d.total.0,
            })
            .collect(),
        certainty: Certainty {
            weights: word(made.certainty.weights).to_owned(),
            kv: word(made.certainty.kv).to_owned(),
            overhead: word(made.certainty.overhead).to_owned(),
        },
        fits: fits
            .unwrap_or_default()
            .into_iter()
            .map(|f| EstimateFit { profile: f.profile, fits: f.fits, reason: f.reason })
            .collect(),
        notes: made.notes,
    })
}

/// With the overhead of servers that are `scale` times smaller.
fn played(mut made: estimate::Estimate, scale: u64) -> estimate::Estimate {
    let of = |total: &mut Bytes, overhead: &mut Bytes| {
        let whole = *overhead;
        *overhead = Bytes(whole.0 / scale.max(1));
        *total = total.saturating_sub(whole) + *overhead;
    };
    of(&mut made.total, &mut made.overhead);
    for device in &mut made.per_device {
        of(&mut device.total, &mut device.overhead);
    }
    made
}

fn word(sureness: Sureness) -> &'static str {
    match sureness {
        Sureness::Exact => "exact",
        Sureness::Computed => "computed",
        Sureness::Bound => "bound",
        Sureness::Unknown => "unknown",
    }
}

/// Each of these errors is two sentences.
fn wrong(error: &EstimateError) -> ApiError {
    let text = error.to_string();
    let (message, next) = text.split_once(". ").unwrap_or((&text, ""));
    ApiError::new(Code::Usage, format!("{}.", message.trim_end_matches('.')), next)
}

#[cfg(test)]
mod tests {
    use api::shapes::models::EstimateRequest;

    use super::{answer, describe};

    #[test]
    fn on_the_small_machine_servers_take_a_thousandth_too() {
        let home = tempfile::tempdir().unwrap();
        let model = home.path().join("model");
        std::fs::create_dir(&model).unwrap();
        let config = serde_json::json!({
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "torch_dtype": "bfloat16", "hidden_size": 64,
            "intermediate_size": 128, "max_position_embeddings": 4096, "num_attention_heads": 4,
            "num_hidden_layers": 2, "num_key_value_heads": 2, "vocab_size": 512,
        });
        std::fs::write(model.join("config.json"), config.to_string()).unwrap();
        let get = |name: &str| (name == "HOME").then(|| home.path().as_os_str().to_owned());
        let paths = store::paths::Paths::from_env(&get, 1000, true).unwrap();
        let asked = EstimateRequest { model: model.display().to_string(), ..EstimateRequest::default() };
        let described = describe(&paths, &asked).unwrap();
        let real = answer(&described, &asked, None, 1).unwrap();
        let played = answer(&described, &asked, None, 1024).unwrap();
        assert!(real.overhead_bytes > 1 << 28, "{}", real.overhead_bytes);
        assert_eq!(played.overhead_bytes, real.overhead_bytes / 1024);
        let others = |e: &api::shapes::models::Estimate| e.total_bytes - e.overhead_bytes;
        assert_eq!(others(&played), others(&real));
        assert_eq!(played.per_device[0].overhead_bytes, played.overhead_bytes);
    }
}
