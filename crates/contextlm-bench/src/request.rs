use std::path::PathBuf;

use contextlm_core::ContextLmConfig;
use contextlm_train::TrainDtype;
use serde::{Deserialize, Serialize};

/// What a side is asked to measure: one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "group", rename_all = "lowercase")]
pub enum Request {
    /// Training steps on random tokens: forward, backward, clipping and AdamW. The model is trained on through all requests.
    Training {
        /// The model.
        config: Box<ContextLmConfig>,
        /// Sequences of a batch, B.
        rows: usize,
        /// Tokens of a sequence, T.
        length: usize,
        /// Steps that are timed.
        steps: usize,
        /// Steps before them.
        warmup: usize,
        /// Type of the matrix products.
        dtype: TrainDtype,
        /// Whether what is cheap to compute is computed again in the backward pass instead of kept.
        #[serde(default)]
        gradient_checkpointing: bool,
    },
    /// A prompt, then token by token with caches, greedily.
    Generation {
        /// The model, with fresh weights.
        config: Box<ContextLmConfig>,
        /// Prompts, B.
        rows: usize,
        /// Tokens of a prompt.
        length: usize,
        /// Tokens after it.
        new_tokens: usize,
        /// Whether weights are of 8 bits.
        #[serde(default)]
        int8: bool,
    },
    /// A model directory, from the first byte to the finished model.
    Loading {
        /// The directory.
        dir: PathBuf,
    },
    /// Texts to tokens.
    Tokenising {
        /// `tokenizer.json`.
        tokenizer: PathBuf,
        /// JSON lines with the key `text`.
        text: PathBuf,
    },
}

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// One training step.
    Training,
    /// The prompts, to the first new token.
    Prefill,
    /// One new token of every row, the mean of all after the first.
    Decode,
    /// A model directory.
    Loading,
    /// All texts.
    Tokenising,
}

impl Work {
    /// Its name in tables and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Loading => "loading",
            Self::Tokenising => "tokenising",
        }
    }
}

/// One measured time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Of what.
    pub work: Work,
    /// By the clock.
    pub seconds: f64,
    /// Tokens that went through in this time; 0 where there are none.
    #[serde(default)]
    pub tokens: u64,
}

/// What a side answers: one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The times.
    pub samples: Vec<Sample>,
    /// Parameters of the model, 0 without one. Sides that compute the same must agree on it.
    #[serde(default)]
    pub parameters: u64,
    /// The largest anonymous memory while it was measured, above that of the empty process; `None` where it cannot be told.
    #[serde(default)]
    pub peak_bytes: Option<u64>,
    /// What measured, with its versions.
    #[serde(default)]
    pub program: Option<String>,
}

/// A line that a side writes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reply {
    Answer(Answer),
    Error(String),
}
