//! How fast a model could write at best: the memory's bandwidth over the bytes that one token reads.
//!
//! An estimate, and an upper bound: one conversation, weights alone. The KV cache that a long conversation reads too,
//! kernels that miss the memory's speed and everything else make it slower.

use crate::memory::Bytes;
use crate::stack::Gpu;

/// What a device's memory can move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bandwidth {
    pub bytes_per_second: u64,
    /// Where the figure comes from.
    pub source: &'static str,
}

const GB: u64 = 1_000_000_000;

/// By a part of the card's name as its driver tells it; the longer name stands first.
const CARDS: &[(&str, u64)] = &[
    ("rtx pro 6000", 1792),
    ("rtx 5090", 1792),
    ("rtx 5080", 960),
    ("rtx 5070 ti", 896),
    ("rtx 5070", 672),
    ("rtx 5060 ti", 448),
    ("rtx 4090", 1008),
    ("rtx 4080 super", 736),
    ("rtx 4080", 717),
    ("rtx 4070 ti super", 672),
    ("rtx 4070", 504),
    ("rtx 4060 ti", 288),
    ("rtx 3090 ti", 1008),
    ("rtx 3090", 936),
    ("rtx 3080 ti", 912),
    ("rtx 3080", 760),
    ("rtx 3060", 360),
    ("rtx 6000 ada", 960),
    ("rtx a6000", 768),
    ("l40s", 864),
    ("h200", 4800),
    ("h100 pcie", 2039),
    ("h100", 3350),
    ("a100-sxm4-80gb", 2039),
    ("a100 80gb", 1935),
    ("tesla t4", 320),
];

/// The bandwidth of this GPU, by what is known of it or by its name ("NVIDIA GeForce RTX 4090"). None where neither
/// says anything: nothing is promised then.
pub fn bandwidth(gpu: Option<Gpu>, name: Option<&str>) -> Option<Bandwidth> {
    match gpu {
        Some(Gpu::Gfx1151) => {
            return Some(Bandwidth {
                bytes_per_second: 256 * GB,
                source: "LPDDR5X-8000 on 256 bits: 8,000 million transfers a second of 32 bytes",
            });
        }
        None => {}
    }
    let name = name?.to_ascii_lowercase();
    let (_, gb) = CARDS.iter().find(|(part, _)| name.contains(part))?;
    Some(Bandwidth { bytes_per_second: gb * GB, source: "the maker's data sheet of the card" })
}

/// Tokens a second, at most.
pub fn tokens_per_second(bandwidth: Bandwidth, active: Bytes) -> Option<f64> {
    (active > Bytes::ZERO).then(|| bandwidth.bytes_per_second as f64 / active.0 as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_the_active_weights_once() {
        let strix = bandwidth(Some(Gpu::Gfx1151), None).unwrap();
        // 39.8 GB of a dense model of 70 billion in 4 bits: some six tokens a second at best.
        let speed = tokens_per_second(strix, Bytes(39_800_000_000)).unwrap();
        assert!((6.4..6.5).contains(&speed), "{speed}");
        assert_eq!(tokens_per_second(strix, Bytes::ZERO), None);
        let named = |name| bandwidth(None, Some(name)).map(|b| b.bytes_per_second / GB);
        assert_eq!(named("NVIDIA GeForce RTX 3090 Ti"), Some(1008));
        assert_eq!(named("NVIDIA GeForce RTX 3090"), Some(936));
        assert_eq!(named("NVIDIA A100-SXM4-80GB"), Some(2039));
        assert_eq!(named("Some other card"), None);
        assert_eq!(bandwidth(None, None), None);
    }
}
