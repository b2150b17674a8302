use std::path::PathBuf;

use thiserror::Error;

/// Why training cannot start or go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Tokens cannot be read.
    #[error(transparent)]
    Data(#[from] contextlm_data::DataError),
    /// A setting is not one that can be run.
    #[error("{key} = {value}: {fix}")]
    Config {
        /// The key.
        key: &'static str,
        /// The value that was found.
        value: String,
        /// What would be accepted.
        fix: String,
    },
    /// Too many steps in a row were skipped; the parameters are those before the first of them.
    #[error(
        "step {step}: loss {loss}, gradient norm {grad_norm}: skipped, as were the {count} last steps; \
         lower lr, or warm up for longer{checkpoint}"
    )]
    Skipped {
        /// The last step, counted from 1.
        step: usize,
        /// Steps skipped in a row.
        count: usize,
        /// The loss.
        loss: f64,
        /// The global norm of the gradients.
        grad_norm: f64,
        /// Where to go on from, in words; empty where it is not known.
        checkpoint: String,
    },
    /// A training config cannot be read.
    #[error("{path}: {reason}")]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the key.
        reason: String,
    },
    /// The directory of a run cannot be used.
    #[error("{path}: {reason}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The config of a model is wrong.
    #[error(transparent)]
    Model(#[from] contextlm_core::ContextLmError),
    /// A batch does not fit the model or the settings.
    #[error("batch: {reason}")]
    Batch {
        /// What does not fit.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A checkpoint is damaged.
    #[error("{path}: {reason}")]
    Checkpoint {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A run is to go on with other settings than it was begun with.
    #[error("{path}: the settings have changed: {keys}; put them back, or allow the change")]
    ConfigChanged {
        /// The checkpoint.
        path: PathBuf,
        /// Keys with their old and new values.
        keys: String,
    },
    /// A model directory cannot be read or written.
    #[error(transparent)]
    Weights(#[from] contextlm_weights::WeightsError),
    /// A file that a run has left of itself cannot be read.
    #[error("{path}, line {line}: {reason}")]
    Metrics {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Runs cannot be compared.
    #[error("{reason}")]
    Compare {
        /// Which, and why not.
        reason: String,
    },
    /// A picture cannot be drawn.
    #[error("{path}: {reason}")]
    Plot {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl TrainError {
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    pub(crate) fn config(key: &'static str, value: impl ToString, fix: &str) -> Self {
        Self::Config { key, value: value.to_string(), fix: fix.into() }
    }
}
