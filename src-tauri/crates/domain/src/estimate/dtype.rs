//! Types of KV caches: what one value takes.

/// Bytes of `elements` cached values, exactly, as a fraction of bytes: `bits` for each value, and what is stored
/// beside each head of one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CacheType {
    /// Thousandths of a byte would lose q5_0; 32 values always take whole bytes, so that is the unit.
    per_32_values: u64,
    /// Scales for each key and each value of a head (the "per token and head" types of vLLM).
    per_vector: u64,
}

impl CacheType {
    const fn plain(per_32_values: u64) -> Self {
        Self { per_32_values, per_vector: 0 }
    }

    /// Bytes of one vector of `elements` values.
    pub(super) fn vector(self, elements: u64) -> u128 {
        (u128::from(elements) * u128::from(self.per_32_values)).div_ceil(32) + u128::from(self.per_vector)
    }
}

/// What is known of a type's name.
pub(super) enum Known {
    Type(CacheType),
    /// The widest there is stands in for it.
    Unknown(CacheType),
}

const SIXTEEN: CacheType = CacheType::plain(64);
const WIDEST: CacheType = CacheType::plain(128);

/// vLLM's `--kv-cache-dtype`. `auto` is the model's own type, which vLLM makes a 16-bit one where it is wider.
pub(super) fn vllm(name: &str) -> Known {
    Known::Type(match name {
        "auto" | "" | "f16" | "fp16" | "float16" | "half" | "bf16" | "bfloat16" => SIXTEEN,
        "f32" | "fp32" | "float32" | "float" => WIDEST,
        "fp8" | "fp8_e4m3" | "fp8_e5m2" | "fp8_inc" | "fp8_ds_mla" | "int8" => CacheType::plain(32),
        // A 32-bit scale for each key and each value of every head.
        "int8_per_token_head" | "fp8_per_token_head" => CacheType { per_32_values: 32, per_vector: 4 },
        // Four bits and an 8-bit scale for sixteen of them.
        "nvfp4" => CacheType::plain(18),
        _ => return Known::Unknown(WIDEST),
    })
}

/// llama.cpp's `--cache-type-k` and `-v`: blocks of 32 values with their scales.
pub(super) fn llama_cpp(name: &str) -> Known {
    Known::Type(match name {
        "auto" | "" | "f16" | "fp16" | "float16" | "half" | "bf16" | "bfloat16" => SIXTEEN,
        "f32" | "fp32" | "float32" => WIDEST,
        "q8_0" => CacheType::plain(34),
        "q5_1" => CacheType::plain(24),
        "q5_0" => CacheType::plain(22),
        "q4_1" => CacheType::plain(20),
        "q4_0" | "iq4_nl" => CacheType::plain(18),
        _ => return Known::Unknown(WIDEST),
    })
}

/// The type that the request names, said in `notes` where it is not understood.
pub(super) fn resolve(name: &str, of: fn(&str) -> Known, notes: &mut Vec<String>) -> (CacheType, bool) {
    match of(&name.to_ascii_lowercase()) {
        Known::Type(of) => (of, true),
        Known::Unknown(widest) => {
            notes.push(format!(
                "The cache type {name:?} is not known here: the cache is counted with 32 bits for each value, which is a bound."
            ));
            (widest, false)
        }
    }
}
