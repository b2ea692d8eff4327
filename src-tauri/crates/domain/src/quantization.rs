//! Names of quantisation methods, apart from what people write to describe a model's weights.

/// What vLLM knows by name, of the versions that are spoken to; a name it dropped or has not yet is refused by it with
/// the list of its own.
const METHODS: &[&str] = &[
    "aqlm",
    "auto-round",
    "awq",
    "awq_marlin",
    "bitblas",
    "bitsandbytes",
    "compressed-tensors",
    "cpu_awq",
    "cpu_gptq",
    "deepgemm_fp8",
    "deepspeedfp",
    "experts_int8",
    "fbgemm_fp8",
    "fp8",
    "fp_quant",
    "gguf",
    "gptq",
    "gptq_bitblas",
    "gptq_marlin",
    "gptq_marlin_24",
    "hqq",
    "inc",
    "ipex",
    "marlin",
    "modelopt",
    "modelopt_fp4",
    "modelopt_mixed",
    "modelopt_mxfp8",
    "moe_wna16",
    "mxfp4",
    "mxfp8",
    "neuron_quant",
    "petit_nvfp4",
    "ptpc_fp8",
    "qqq",
    "quark",
    "rtn",
    "torchao",
    "tpu_int8",
];

/// The name of a quantisation method as vLLM takes it, where the text is one. "AWQ 4-bit" and "BF16" are descriptions for a person:
/// the flag is left out for them, and the server finds the method in the model's own configuration.
pub fn vllm_method(text: &str) -> Option<&'static str> {
    METHODS.iter().find(|name| name.eq_ignore_ascii_case(text)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_is_passed_as_a_quantisation() {
        let described = [
            "BF16",
            "FP16",
            "bfloat16",
            "AWQ 4-bit",
            "GGUF Q4_K_M",
            "Q4_K_M",
            "compressed-tensors 4-bit",
            "4-bit",
            "",
        ];
        for text in described.into_iter().chain(crate::catalog::all().iter().map(|m| m.quantization)) {
            assert_eq!(vllm_method(text), None, "{text:?}");
        }
        for (text, name) in [
            ("compressed-tensors", "compressed-tensors"),
            ("GPTQ", "gptq"),
            ("awq", "awq"),
            ("AWQ_Marlin", "awq_marlin"),
            ("FP8", "fp8"),
            ("mxfp4", "mxfp4"),
            ("bitsandbytes", "bitsandbytes"),
            ("quark", "quark"),
        ] {
            assert_eq!(vllm_method(text), Some(name));
        }
    }
}
