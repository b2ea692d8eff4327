//! What of a search is let through.

use api::shapes::hub::{FitKind, HubModel, SearchRequest, SearchSort, Variant};
use models::hub::{About, Sort};

pub(super) fn sort(sort: SearchSort) -> Sort {
    match sort {
        SearchSort::Trending => Sort::Trending,
        SearchSort::Downloads => Sort::Downloads,
        SearchSort::Likes => Sort::Likes,
        SearchSort::Updated => Sort::Updated,
    }
}

/// What the Hub itself can tell apart. The rest is looked at here, when the files are known.
pub(super) fn tags(asked: &SearchRequest) -> Vec<String> {
    let mut tags = Vec::new();
    let quantization = asked.quantization.as_deref().map(str::to_ascii_lowercase);
    match quantization.as_deref() {
        // Names of methods are tags of the Hub's own making.
        Some(word @ ("awq" | "gptq" | "gguf" | "fp8" | "mxfp4" | "compressed-tensors" | "bitsandbytes")) => {
            tags.push(word.to_owned());
        }
        _ => match asked.backend.as_deref() {
            Some("llama.cpp") => tags.push("gguf".to_owned()),
            Some("vllm") => tags.push("safetensors".to_owned()),
            _ => {}
        },
    }
    tags
}

/// Whether it writes text, as far as the Hub knows: pictures, voices and classifiers are not for here.
pub(super) fn writes_text(about: &About) -> bool {
    const TASKS: [&str; 7] = [
        "text-generation",
        "image-text-to-text",
        "any-to-any",
        "audio-text-to-text",
        "video-text-to-text",
        "text2text-generation",
        "conversational",
    ];
    about.pipeline.as_deref().is_none_or(|task| TASKS.contains(&task))
}

/// Whether one of its variants is what was asked for in every respect.
pub(super) fn matches(model: &HubModel, asked: &SearchRequest) -> bool {
    if asked.open_licence && model.open_licence != Some(true) {
        return false;
    }
    model.variants.iter().any(|v| fits(v, asked))
}

fn fits(variant: &Variant, asked: &SearchRequest) -> bool {
    let Some(backend) = &variant.backend else { return false };
    let right_backend = asked.backend.as_ref().is_none_or(|b| b == backend);
    let right_words = asked.quantization.as_ref().is_none_or(|wanted| {
        let words = format!("{} {}", variant.title, variant.quantization.as_deref().unwrap_or_default());
        words.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase())
    });
    let works = !asked.works_here || !variant.troubles.iter().any(|t| t.fatal);
    let fits =
        !asked.fits || matches!(variant.fit.kind, FitKind::Fits | FitKind::LessContext | FitKind::Alone);
    right_backend && right_words && works && fits && variant.refused.is_none()
}

#[cfg(test)]
mod tests {
    use api::shapes::hub::{Fit, Trouble};

    use super::*;

    fn variant(id: &str, backend: &str, kind: FitKind) -> Variant {
        Variant {
            id: id.to_owned(),
            title: id.to_owned(),
            backend: Some(backend.to_owned()),
            fit: Fit { kind, ..Fit::default() },
            ..Variant::default()
        }
    }

    #[test]
    fn one_variant_has_to_be_right_in_every_respect() {
        let mut broken = variant("FP8", "vllm", FitKind::Fits);
        broken.troubles.push(Trouble {
            verdict: "crashes".to_owned(),
            fatal: true,
            message: String::new(),
            source: String::new(),
            date: String::new(),
        });
        let model = HubModel {
            open_licence: Some(true),
            variants: vec![
                broken,
                variant("Q4_K_M", "llama.cpp", FitKind::Alone),
                variant("Q8_0", "llama.cpp", FitKind::Never),
            ],
            ..HubModel::default()
        };
        let any = SearchRequest::default();
        assert!(matches(&model, &any));
        let vllm = || Some("vllm".to_owned());
        assert!(matches(&model, &SearchRequest { backend: vllm(), fits: true, ..any.clone() }));
        assert!(!matches(&model, &SearchRequest { backend: vllm(), works_here: true, ..any.clone() }));
        let quantised = |word: &str| SearchRequest { quantization: Some(word.to_owned()), ..any.clone() };
        assert!(matches(&model, &SearchRequest { fits: true, ..quantised("q4_k_m") }));
        assert!(!matches(&model, &SearchRequest { fits: true, ..quantised("Q8_0") }));
        assert!(!matches(&model, &quantised("awq")));
        let closed = HubModel { open_licence: None, ..model };
        assert!(!matches(&closed, &SearchRequest { open_licence: true, ..any.clone() }));
        assert!(!matches(&HubModel::default(), &any), "nothing of it runs here");
    }
}
