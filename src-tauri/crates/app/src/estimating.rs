//! What a model takes: from its files to the shape that the command and the window show.

use api::shapes::models::{Certainty, DeviceEstimate, Estimate, EstimateFit, EstimateRequest};
use api::{ApiError, Code};
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
    answer(&described, asked, stack.as_ref().zip(situation.as_ref()))
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

pub(crate) fn answer(
    described: &Described,
    asked: &EstimateRequest,
    ground: Option<(&Stack, &Situation)>,
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
    let made = estimate::estimate(facts, &request).map_err(|error| wrong(&error))?;
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
