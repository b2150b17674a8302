use std::path::PathBuf;

use contextlm_backbone::BackboneError;
use thiserror::Error;

/// Why a model cannot be built from what was given.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ContextLmError {
    /// A value of the `context` table is not one that can be run.
    #[error("context.{key} = {value}: {fix}")]
    Context {
        /// The key.
        key: &'static str,
        /// The value that was found.
        value: String,
        /// What would be accepted.
        fix: String,
    },
    /// The `context` table has a key that does not exist.
    #[error("context.{} = {value}: there is no such key; the nearest is {nearest}", key.escape_debug())]
    UnknownKey {
        /// The key that was found.
        key: String,
        /// Its value.
        value: String,
        /// The known key that is spelled most alike.
        nearest: &'static str,
    },
    /// No preset has this name.
    #[error("preset {name}: there is none of this name; known are {known}")]
    UnknownPreset {
        /// The name that was given.
        name: String,
        /// All names.
        known: String,
    },
    /// `model_type` is none that can be run.
    #[error("model_type = {found}: use contextlm, gpt2, gpt_neox, llama, mistral or qwen2")]
    ModelType {
        /// What the config says.
        found: String,
    },
    /// A config is not the JSON that it should be.
    #[error("{what}: {fix}")]
    Json {
        /// The part that is wrong.
        what: String,
        /// What is wrong with it.
        fix: String,
    },
    /// A file cannot be read.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Every size of the config can be run, but not all of them in one model.
    #[error("{sizes}: together more than 2^53 parameters or operations a token; one of them is wrong")]
    TooLarge {
        /// The sizes.
        sizes: String,
    },
    /// A model that should be a plain backbone has a context path.
    #[error("the model is a ContextLM already; start from its plain backbone")]
    HasContext,
    /// A model cannot be quantized.
    #[error("quantize: {reason}")]
    Quantize {
        /// Why not.
        reason: String,
    },
    /// The backbone's own config is wrong.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
}

impl ContextLmError {
    pub(crate) fn context(key: &'static str, value: impl ToString, fix: impl Into<String>) -> Self {
        Self::Context { key, value: value.to_string(), fix: fix.into() }
    }
}
