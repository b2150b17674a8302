//! The tables of a training config that are not the trainer's own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{TrainDtype, TrainError};

/// `[model]`: one of `preset`, `path` and `backbone`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelTable {
    /// A published backbone by its name, with random weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// A model directory. One without weights gives random ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// A backbone's Hugging Face config, with random weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<Map<String, Value>>,
    /// Context settings, those of [`ContextConfig`](contextlm_core::ContextConfig); without the table it is the plain backbone. On the weights of a plain
    /// model that `path` names, settings that are not given are those of [`ContextConfig::for_retrofit`](contextlm_core::ContextConfig::for_retrofit).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Map<String, Value>>,
}

/// `[data]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataTable {
    /// Folder of token shards to train on.
    pub train: PathBuf,
    /// Folder of token shards to validate with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<PathBuf>,
    /// Tokens of a row, T.
    pub sequence_length: usize,
    /// Whether documents in a row are kept apart; otherwise they are one stream. Default: no.
    #[serde(default)]
    pub packing: bool,
}

/// `[train]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainTable {
    /// Optimizer steps; this or `tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Tokens, rounded up to whole steps; this or `steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Tokens of a batch; a multiple of `micro_batch` times `sequence_length`.
    pub batch_tokens: usize,
    /// Rows that go through the model at once; all of the batch if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Seed of the first parameters, of the order of the data, and of dropout. Default: 0.
    #[serde(default)]
    pub seed: u64,
    /// Seeds of several runs instead, one after another, each in `checkpoint.dir/seed-N`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    /// Type of the matrix products. Default: f32.
    #[serde(default)]
    pub dtype: TrainDtype,
    /// Where to compute. Default: `cpu`.
    #[serde(default = "cpu")]
    pub device: String,
    /// Whether the backward pass computes cheap operations again instead of keeping what they gave: less memory, more time,
    /// the same result. Default: no.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// Patterns of parameters that stay as they are, see [`TrainConfig::freeze`](crate::TrainConfig::freeze).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
}

fn cpu() -> String {
    "cpu".into()
}

/// `[checkpoint]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointTable {
    /// The directory of the run.
    pub dir: PathBuf,
    /// Steps between checkpoints; 0 leaves one at the end only. Default: 1000.
    #[serde(default = "thousand")]
    pub every: usize,
    /// Checkpoints that are kept, beside the one of the lowest validation loss. Default: 3.
    #[serde(default = "three")]
    pub keep: usize,
}

fn thousand() -> usize {
    1000
}

fn three() -> usize {
    3
}

/// `[eval]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalTable {
    /// Steps between validations, beside those at checkpoints; 0 for none. Default: 0.
    pub every: usize,
    /// Tokens that are scored, the first of `data.valid`. Default: 131,072.
    pub tokens: usize,
}

impl Default for EvalTable {
    fn default() -> Self {
        Self { every: 0, tokens: 131_072 }
    }
}

/// `[log]`. Nothing here changes the result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogTable {
    /// Whether event files for TensorBoard are written to the directory of the run. Default: no.
    pub tensorboard: bool,
    /// Operations a second that the device makes at most, what MFU is a share of. Default: what [`peak_flops`](crate::peak_flops)
    /// knows of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_flops: Option<f64>,
}

impl LogTable {
    pub(super) fn validate(&self) -> Result<(), TrainError> {
        if self.tensorboard && !cfg!(feature = "tensorboard") {
            return Err(TrainError::config("log.tensorboard", true, "build with the feature `tensorboard`"));
        }
        match self.peak_flops {
            Some(peak) if !(peak.is_finite() && peak > 0.0) => {
                Err(TrainError::config("log.peak_flops", peak, "must be above 0"))
            }
            _ => Ok(()),
        }
    }
}
