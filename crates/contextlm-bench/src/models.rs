use contextlm_core::{ContextConfig, ContextLmConfig};
use serde_json::{Map, Value};

use crate::BenchError;

/// A model under a name for tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Its kind and depth, as `ContextLM 12L`.
    pub name: String,
    /// Its config.
    pub config: ContextLmConfig,
}

/// The models that are measured beside each other: the plain backbone, the plain backbone with as many more layers as the
/// predictor has (equal parameters), and ContextLM.
pub fn models(config: &ContextLmConfig) -> [Model; 3] {
    let context = config.context.clone().unwrap_or_else(ContextConfig::measured);
    let (layers, plain) = (config.backbone.layers(), config.clone().plain());
    let deeper = layers + context.predictor_layers;
    let with_layers =
        |layers| ContextLmConfig { backbone: plain.backbone.clone().with_layers(layers), ..plain.clone() };
    [
        Model { name: format!("plain {layers}L"), config: plain.clone() },
        Model { name: format!("plain {deeper}L"), config: with_layers(deeper) },
        Model { name: format!("ContextLM {layers}L"), config: plain.clone().with_context(context) },
    ]
}

/// What ContextLM takes over its plain backbone if the predictor were all: 1 + predictor_layers / (w * L).
pub fn expected_over_plain(config: &ContextLmConfig) -> f64 {
    let context = config.context.clone().unwrap_or_else(ContextConfig::measured);
    let chunked = (context.chunk_size * config.backbone.layers()).max(1);
    1.0 + context.predictor_layers as f64 / chunked as f64
}

/// A config with some of its backbone's keys replaced: `key=value` in Hugging Face's names.
///
/// # Errors
/// [`BenchError::Setting`] for a key that the backbone's config does not have, and for what makes no valid config.
pub fn with_settings(config: ContextLmConfig, settings: &[String]) -> Result<ContextLmConfig, BenchError> {
    let mut table: Map<String, Value> = config.backbone.to_json();
    for pair in settings.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair
            .split_once('=')
            .map(|(key, value)| (key.trim(), value.trim()))
            .ok_or_else(|| BenchError::setting("--set", pair, "must be key=value"))?;
        if key == "model_type" || !table.contains_key(key) {
            let known: Vec<&str> = table.keys().map(String::as_str).filter(|key| *key != "model_type").collect();
            return Err(BenchError::setting("--set", pair, format!("the backbone's keys are {}", known.join(", "))));
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        table.insert(key.into(), value);
    }
    let wrong = |reason: String| BenchError::setting("--set", settings.join(","), reason);
    let backbone = contextlm_core::BackboneConfig::from_json(&table).map_err(|error| wrong(error.to_string()))?;
    let config = ContextLmConfig { backbone, ..config };
    config.validate().map_err(|error| wrong(error.to_string()))?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpt2() -> ContextLmConfig {
        ContextLmConfig::preset("gpt2").map_or_else(|error| panic!("{error}"), ContextLmConfig::with_default_context)
    }

    #[test]
    fn the_deeper_model_has_the_predictors_layers_more() {
        let [plain, deeper, context] = models(&gpt2());
        assert_eq!((plain.config.backbone.layers(), deeper.config.backbone.layers()), (12, 14));
        assert!(plain.config.context.is_none() && deeper.config.context.is_none() && context.config.context.is_some());
        // Two layers of predictor, one entry in two tokens, beside twelve layers.
        assert!((expected_over_plain(&gpt2()) - (1.0 + 2.0 / 24.0)).abs() < 1e-12);
    }

    #[test]
    fn settings_are_the_backbones_own_and_checked() {
        let set = |text: &str| with_settings(gpt2(), &[text.to_string()]);
        let small = set("n_layer=2, n_embd=64,n_head=4,tie_word_embeddings=false").ok();
        assert_eq!(small.as_ref().map(|config| config.backbone.layers()), Some(2));
        let message = |text: &str| set(text).err().map_or(String::new(), |error| error.to_string());
        assert!(message("n_layers=2").contains("n_layer"), "{}", message("n_layers=2"));
        assert!(message("n_layer").contains("key=value"), "{}", message("n_layer"));
        assert!(message("n_head=7").contains("n_head"), "{}", message("n_head=7"));
        assert!(message("model_type=llama").contains("keys are"), "{}", message("model_type=llama"));
    }
}
