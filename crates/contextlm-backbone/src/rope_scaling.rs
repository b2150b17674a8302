use contextlm_nn::RotaryScaling;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::BackboneError;

/// The rotary settings of `rope_scaling` (transformers 4) and `rope_parameters` (5).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RopeScaling {
    /// `default` or `llama3`. Older files say `type`, some say both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_type: Option<String>,
    /// Base of the frequencies (transformers 5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// `llama3`: what the lowest frequencies are divided by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// `llama3`: frequencies with fewer turns than this in the original length are divided by `factor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_freq_factor: Option<f64>,
    /// `llama3`: frequencies with more turns than this in the original length stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_freq_factor: Option<f64>,
    /// `llama3`: the original length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_max_position_embeddings: Option<u64>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl RopeScaling {
    /// The settings of `llama3`.
    ///
    /// # Errors
    /// [`BackboneError`] naming the key that is missing or cannot be run.
    pub(crate) fn llama3(&self) -> Result<RotaryScaling, BackboneError> {
        let positive = |key: &'static str, value: Option<f64>| match value {
            Some(value) if value.is_finite() && value > 0.0 => Ok(value),
            Some(value) => Err(BackboneError::config(key, value, "must be above 0")),
            None => Err(BackboneError::config(key, "missing", "rope_type llama3 needs it")),
        };
        let scaling = RotaryScaling {
            factor: positive("factor", self.factor)?,
            low_freq_factor: positive("low_freq_factor", self.low_freq_factor)?,
            high_freq_factor: positive("high_freq_factor", self.high_freq_factor)?,
            original_length: positive(
                "original_max_position_embeddings",
                self.original_max_position_embeddings.map(|length| length as f64),
            )?,
        };
        if scaling.low_freq_factor >= scaling.high_freq_factor {
            let fix = format!("must be below high_freq_factor = {}", scaling.high_freq_factor);
            return Err(BackboneError::config("low_freq_factor", scaling.low_freq_factor, fix));
        }
        Ok(scaling)
    }
}
