//! Configurations of real models, written by hand from what is public of them, and what the estimate makes of them.

use domain::Bytes;
use domain::estimate::{ModelFacts, Request, concurrency, estimate};
use domain::stack::BackendKind;

fn facts(name: &str) -> ModelFacts {
    let path = format!("{}/tests/configs/{name}.json", env!("CARGO_MANIFEST_DIR"));
    models::config::read(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn print_all() {
    let mut all: Vec<_> = std::fs::read_dir(format!("{}/tests/configs", env!("CARGO_MANIFEST_DIR")))
        .unwrap()
        .map(|e| e.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    all.sort();
    for name in all {
        let f = facts(&name);
        let r = Request {
            batched_tokens: Some(2048),
            ..Request::one(BackendKind::Vllm, Some(32768.min(f.max_context.unwrap_or(32768))))
        };
        let e = estimate(&f, &r).unwrap();
        let active = domain::estimate::active_weights(&f, &r).unwrap_or_default();
        println!(
            "{name:32} {:8.2} GB act {:6.2} towers {:.2} mtp {:.2} | {:7.1} KiB/tok kv {:.3} GiB state {:.1} MiB ovh {:.1} ctx {:?} conc {:?} {:?} {:?}",
            e.weights.0 as f64 / 1e9,
            active.0 as f64 / 1e9,
            f.parts.towers.0 as f64 / 1e9,
            f.parts.prediction.0 as f64 / 1e9,
            e.kv_bytes_per_token as f64 / 1024.0,
            e.kv.0 as f64 / (1u64 << 30) as f64,
            e.state.0 as f64 / 1048576.0,
            e.overhead.0 as f64 / (1u64 << 30) as f64,
            f.max_context,
            concurrency(&f, &r, Bytes(10 << 30)),
            f.quantization,
            e.notes
        );
    }
}
