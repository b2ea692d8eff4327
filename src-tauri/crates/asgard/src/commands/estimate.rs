//! `asgard estimate`: what a model takes of memory, and where it would fit.

use std::fmt::Write as _;

use api::shapes::models::{Estimate, EstimateRequest};
use api::{ApiError, Code};
use domain::memory::{GIB, Unit};

use crate::args::EstimateArgs;
use crate::screen::Screen;
use crate::words::{memory, plain, table};
use crate::{Answer, place};

pub(super) async fn run(screen: Screen, ask: EstimateArgs) -> Result<Answer, ApiError> {
    let asked = EstimateRequest {
        model: ask.model,
        context: ask.context,
        sequences: ask.sequences,
        tensor_parallel: ask.tensor_parallel,
        kv_dtype: ask.kv_dtype,
        quantization: ask.quantization,
    };
    let options = place::options(place::paths(false)?, false, false)?;
    let estimate = app::offline_estimate(&options, &asked).await?;
    if screen.json {
        let document = serde_json::to_value(&estimate)
            .map_err(|e| ApiError::new(Code::Failed, format!("The answer cannot be written: {e}."), ""))?;
        screen.document(&document);
    } else {
        screen.piece(&render(&estimate));
    }
    Ok(Answer::Yes)
}

fn render(estimate: &Estimate) -> String {
    let unit = Unit::Gb;
    let mut text = format!("{}, {}", estimate.model, estimate.architecture);
    if let Some(quantization) = &estimate.quantization {
        let _ = write!(text, ", {quantization}");
    }
    let _ = writeln!(text, ", as {} serves it. Read from {}.", estimate.backend, estimate.source);
    let several =
        |n: u32, one: &str, more: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {more}") };
    let _ = writeln!(
        text,
        "{} of {} tokens, on {}. One more token costs {}.\n",
        several(estimate.sequences, "sequence", "sequences"),
        estimate.context,
        several(estimate.tensor_parallel, "device", "devices"),
        kib(estimate.kv_bytes_per_token)
    );
    let size = |bytes: u64| if bytes < GIB / 10 { memory(bytes, Unit::Mb) } else { memory(bytes, unit) };
    let sure = |bytes: u64, how: &str| match how {
        "exact" => size(bytes),
        "computed" => format!("about {}", size(bytes)),
        "bound" => format!("at most {}", size(bytes)),
        _ => "not known".to_owned(),
    };
    let known = &estimate.certainty;
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("weights", sure(estimate.weights_bytes, &known.weights)),
        row("KV cache", sure(estimate.kv_bytes, &known.kv)),
    ];
    if estimate.state_bytes > 0 {
        rows.push(row("fixed state", sure(estimate.state_bytes, &known.kv)));
    }
    rows.push(row("overhead", sure(estimate.overhead_bytes, &known.overhead)));
    let least_sure = ["unknown", "bound", "computed"]
        .into_iter()
        .find(|how| [&known.weights, &known.kv, &known.overhead].iter().any(|k| k == how))
        .unwrap_or("exact");
    rows.push(row("in all", sure(estimate.total_bytes, least_sure)));
    text.push_str(&table(&rows, &[1]));
    if estimate.per_device.len() > 1 {
        text.push('\n');
        let devices: Vec<Vec<String>> = estimate
            .per_device
            .iter()
            .map(|d| {
                vec![
                    format!("device {}", d.device),
                    memory(d.total_bytes, unit),
                    format!("weights {}", memory(d.weights_bytes, unit)),
                    format!("KV cache {}", memory(d.kv_bytes + d.state_bytes, unit)),
                    format!("{} a token", kib(d.kv_bytes_per_token)),
                ]
            })
            .collect();
        text.push_str(&table(&devices, &[1]));
    }
    if !estimate.fits.is_empty() {
        text.push('\n');
        let fits: Vec<Vec<String>> = estimate
            .fits
            .iter()
            .map(|f| {
                let place = f.profile.as_ref().map_or_else(|| "alone".to_owned(), |p| format!("beside {p}"));
                vec![place, f.reason.clone()]
            })
            .collect();
        text.push_str(&table(&fits, &[]));
    }
    if !estimate.notes.is_empty() {
        text.push('\n');
        for note in &estimate.notes {
            text.push_str(note);
            text.push('\n');
        }
    }
    plain(&text)
}

fn kib(bytes: u64) -> String {
    let kib = bytes as f64 / 1024.0;
    if kib.fract() == 0.0 { format!("{kib:.0} KB") } else { format!("{kib:.1} KB") }
}
