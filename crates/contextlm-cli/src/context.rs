//! Context settings on the command line.

use contextlm_core::{ContextConfig, ContextLmError};
use serde_json::{Map, Value, json};

/// `default`, or settings that differ from `base`: `key=value`, separated by commas.
///
/// # Errors
/// What is no `key=value`, and the errors of [`ContextConfig::from_json`].
pub(crate) fn parse(text: &str, base: ContextConfig) -> Result<ContextConfig, ContextLmError> {
    if text == "default" {
        return Ok(ContextConfig::measured());
    }
    let mut table = match json!(base) {
        Value::Object(table) => table,
        _ => Map::new(),
    };
    // Not chosen yet: it follows from the backbone.
    table.retain(|_, value| !value.is_null());
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| ContextLmError::Json {
            what: format!("--context {pair}"),
            fix: "must be default, or key=value,...".into(),
        })?;
        // What is no number and no truth value is a word.
        let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        table.insert(key.trim().into(), value);
    }
    ContextConfig::from_json(&table)
}

#[cfg(test)]
mod tests {
    use contextlm_core::{FusionKind, PredictorPositions};

    use super::*;

    #[test]
    fn settings_are_words_numbers_and_truth_values() {
        let read = |text| parse(text, ContextConfig::default());
        assert_eq!(read("").ok(), Some(ContextConfig::default()));
        assert_eq!(read("default").ok(), Some(ContextConfig::measured()));
        let expected = ContextConfig {
            chunk_size: 8,
            fusion: FusionKind::GatedAdd,
            gate_init: 0.5,
            predictor_norm: false,
            predictor_positions: Some(PredictorPositions::None),
            ..ContextConfig::default()
        };
        let text = "chunk_size=8, fusion=gated_add,gate_init=0.5,predictor_norm=false,predictor_positions=none";
        assert_eq!(read(text).ok(), Some(expected));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text| parse(text, ContextConfig::default()).err().map_or(String::new(), |error| error.to_string());
        assert!(error("chunk=8").contains("chunk_size"), "{}", error("chunk=8"));
        assert!(error("chunk_size=many").contains("chunk_size"), "{}", error("chunk_size=many"));
        assert!(error("fusion").contains("key=value"), "{}", error("fusion"));
    }
}
