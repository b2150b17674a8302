use contextlm_backbone::{BackboneSpec, MAX_LAYERS};
use contextlm_decoder::FusionKind;
use contextlm_embedding::Pooling;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::ContextLmError;

/// Where the contexts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The predictor.
    Predicted,
    /// No predictor: every position gets the initial context. This is the control that shows what the contexts
    /// themselves are worth.
    Constant,
}

/// Positions of the chunks in the predictor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictorPositions {
    /// None: order is known through causality only.
    None,
    /// Rotary with the backbone's share and base; chunk k is at position k w. Needs a rotary backbone.
    Rotary,
}

/// The context before the first prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitialContextKind {
    /// A parameter.
    Learned,
    /// Zeros.
    Zero,
}

/// The `context` table of `config.json`: what makes a ContextLM of a backbone.
///
/// The paper's text leaves the encoder's depth, the fusion and the predictor's positions open, so they are
/// settings. Keys that a file leaves out take the values of [`ContextConfig::default`], for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContextConfig {
    /// Tokens in a chunk, w >= 1.
    pub chunk_size: usize,
    /// Blocks of the token encoder, 0..=L.
    pub encoder_layers: usize,
    /// How a chunk's states become its context embedding.
    pub pooling: Pooling,
    /// Where contexts come from.
    pub source: Source,
    /// Blocks of the predictor; 0 is the identity, then the norm.
    pub predictor_layers: usize,
    /// Positions of the predictor; if not given, rotary on a rotary backbone and none on others.
    pub predictor_positions: Option<PredictorPositions>,
    /// Whether a norm of the backbone's kind follows the predictor.
    pub predictor_norm: bool,
    /// How a context enters a token's state.
    pub fusion: FusionKind,
    /// Start of `gated_add`'s scalar, used as it is, without sigmoid.
    pub gate_init: f32,
    /// The context before the first prediction.
    pub initial_context: InitialContextKind,
}

impl Default for ContextConfig {
    fn default() -> Self {
        Self {
            chunk_size: 4,
            encoder_layers: 1,
            pooling: Pooling::Mean,
            source: Source::Predicted,
            predictor_layers: 2,
            predictor_positions: None,
            predictor_norm: true,
            fusion: FusionKind::NormedAdd,
            gate_init: 0.1,
            initial_context: InitialContextKind::Learned,
        }
    }
}

impl ContextConfig {
    /// All keys, in the order in which they are written.
    pub const KEYS: [&'static str; 10] = [
        "chunk_size",
        "encoder_layers",
        "pooling",
        "source",
        "predictor_layers",
        "predictor_positions",
        "predictor_norm",
        "fusion",
        "gate_init",
        "initial_context",
    ];

    /// The settings that trained best when we measured them (the book, "Results"): chunks of 2 tokens, else
    /// [`default`](Self::default). Another measurement may change them, while a file that leaves a key out means the
    /// same for ever; so models made with these have every key written out.
    pub fn measured() -> Self {
        Self { chunk_size: 2, ..Self::default() }
    }

    /// Reads a `context` table.
    ///
    /// # Errors
    /// [`ContextLmError::UnknownKey`], or [`ContextLmError::Context`] for a value of the wrong kind.
    pub fn from_json(table: &Map<String, Value>) -> Result<Self, ContextLmError> {
        for (key, value) in table {
            let Some(&known) = Self::KEYS.iter().find(|known| *known == key) else {
                let nearest = nearest(key, &Self::KEYS);
                return Err(ContextLmError::UnknownKey { key: key.clone(), value: value.to_string(), nearest });
            };
            // Every key has a default, so a table of this key alone tells whether its value is of the right kind.
            serde_json::from_value::<Self>(json!({ known: value }))
                .map_err(|error| ContextLmError::context(known, value, error.to_string()))?;
        }
        serde_json::from_value(Value::Object(table.clone()))
            .map_err(|error| ContextLmError::Json { what: "context".into(), fix: error.to_string() })
    }

    /// The positions of the predictor on this backbone.
    pub fn positions(&self, spec: &BackboneSpec) -> PredictorPositions {
        let rotary = spec.predictor_block.rotary.is_some();
        let default = if rotary { PredictorPositions::Rotary } else { PredictorPositions::None };
        self.predictor_positions.unwrap_or(default)
    }

    /// Checks the settings against a backbone. `extra_entries` is
    /// [`Backbone::supports_extra_entries`](contextlm_backbone::Backbone::supports_extra_entries).
    ///
    /// # Errors
    /// [`ContextLmError::Context`] naming key, value and fix.
    pub fn validate(&self, spec: &BackboneSpec, extra_entries: bool) -> Result<(), ContextLmError> {
        if self.chunk_size == 0 {
            return Err(ContextLmError::context("chunk_size", 0, "must be at least 1"));
        }
        if self.chunk_size > i32::MAX as usize {
            return Err(ContextLmError::context("chunk_size", self.chunk_size, "must be at most 2147483647"));
        }
        if self.predictor_layers > MAX_LAYERS {
            let fix = format!("must be at most {MAX_LAYERS}");
            return Err(ContextLmError::context("predictor_layers", self.predictor_layers, fix));
        }
        if self.encoder_layers > spec.layers {
            let fix = format!("must be at most the backbone's number of layers, {}", spec.layers);
            return Err(ContextLmError::context("encoder_layers", self.encoder_layers, fix));
        }
        if self.fusion == FusionKind::Interleave && self.encoder_layers == spec.layers {
            let fix = format!(
                "interleave needs a block after the encoder to read its entries: at most {} here, or another fusion",
                spec.layers.saturating_sub(1)
            );
            return Err(ContextLmError::context("encoder_layers", self.encoder_layers, fix));
        }
        if self.fusion == FusionKind::Interleave && !extra_entries {
            let fix = "this backbone cannot take entries that are not tokens; use another fusion";
            return Err(ContextLmError::context("fusion", "interleave", fix));
        }
        if self.positions(spec) == PredictorPositions::Rotary && spec.predictor_block.rotary.is_none() {
            let fix = "the backbone has no rotary positions; use none";
            return Err(ContextLmError::context("predictor_positions", "rotary", fix));
        }
        if !self.gate_init.is_finite() {
            return Err(ContextLmError::context("gate_init", self.gate_init, "must be a finite number"));
        }
        Ok(())
    }
}

/// The known key with the smallest edit distance.
fn nearest(key: &str, known: &[&'static str]) -> &'static str {
    known.iter().min_by_key(|known| edit_distance(key, known)).copied().unwrap_or_default()
}

/// Whether a key looks like a misspelling of a known one.
pub(crate) fn is_nearly(key: &str, known: &str) -> bool {
    edit_distance(&key.to_lowercase(), known) <= 2
}

/// Levenshtein distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
