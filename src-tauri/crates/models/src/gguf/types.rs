//! The tensor types of GGUF files: elements in a block, and bytes that a block takes.
//!
//! Source: the layouts of the blocks in ggml (`ggml-common.h`) and the table of gguf-py. Numbers that were withdrawn
//! keep their old layout, because old files carry them.

/// What one type takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorType {
    pub name: &'static str,
    /// Elements in a block; a row is a whole number of them.
    pub block: u64,
    /// Bytes of a block.
    pub bytes: u64,
}

/// No type known today takes more for an element: the bound where a type is not known.
pub const MOST_BYTES_PER_ELEMENT: u64 = 8;

/// The type with this number in a file; `None` for one that is newer than this table.
pub fn tensor_type(number: u32) -> Option<TensorType> {
    let (name, block, bytes) = match number {
        0 => ("F32", 1, 4),
        1 => ("F16", 1, 2),
        2 => ("Q4_0", 32, 18),
        3 => ("Q4_1", 32, 20),
        6 => ("Q5_0", 32, 22),
        7 => ("Q5_1", 32, 24),
        8 => ("Q8_0", 32, 34),
        9 => ("Q8_1", 32, 36),
        10 => ("Q2_K", 256, 84),
        11 => ("Q3_K", 256, 110),
        12 => ("Q4_K", 256, 144),
        13 => ("Q5_K", 256, 176),
        14 => ("Q6_K", 256, 210),
        15 => ("Q8_K", 256, 292),
        16 => ("IQ2_XXS", 256, 66),
        17 => ("IQ2_XS", 256, 74),
        18 => ("IQ3_XXS", 256, 98),
        19 => ("IQ1_S", 256, 50),
        20 => ("IQ4_NL", 32, 18),
        21 => ("IQ3_S", 256, 110),
        22 => ("IQ2_S", 256, 82),
        23 => ("IQ4_XS", 256, 136),
        24 => ("I8", 1, 1),
        25 => ("I16", 1, 2),
        26 => ("I32", 1, 4),
        27 => ("I64", 1, 8),
        28 => ("F64", 1, 8),
        29 => ("IQ1_M", 256, 56),
        30 => ("BF16", 1, 2),
        // Rearranged forms of Q4_0 and IQ4_NL for processors, withdrawn.
        31..=33 => ("Q4_0, rearranged", 32, 18),
        34 => ("TQ1_0", 256, 54),
        35 => ("TQ2_0", 256, 66),
        36..=38 => ("IQ4_NL, rearranged", 32, 18),
        39 => ("MXFP4", 32, 17),
        40 => ("NVFP4", 64, 36),
        41 => ("Q1_0", 128, 18),
        // A fork writes blocks of 128 with the same number; they take a little less.
        42 => ("Q2_0", 64, 18),
        _ => return None,
    };
    Some(TensorType { name, block, bytes })
}

/// What `general.file_type` says, for a person: the mix that most tensors have.
pub fn file_type(number: u64) -> Option<&'static str> {
    // A tool that was not told the type marks its guess with this bit.
    Some(match number & !1024 {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4",
        39 => "NVFP4",
        40 => "Q1_0",
        41 => "Q2_0",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_per_weight_are_the_documented_ones() {
        for (number, bits) in [
            (2, 4.5),
            (8, 8.5),
            (12, 4.5),
            (14, 6.5625),
            (16, 2.0625),
            (39, 4.25),
            (30, 16.0),
            (34, 1.6875),
            (42, 2.25),
        ] {
            let of = tensor_type(number).unwrap();
            let is = of.bytes as f64 * 8.0 / of.block as f64;
            assert!((is - bits).abs() < 1e-9, "{}: {is}", of.name);
        }
        assert_eq!(tensor_type(4), None);
        assert_eq!(tensor_type(u32::MAX), None);
    }
}
