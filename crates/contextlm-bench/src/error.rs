use std::io;

use thiserror::Error;

/// Why nothing could be measured.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A program cannot be started.
    #[error("{command}: cannot be started: {source}")]
    Start {
        /// What was called.
        command: String,
        /// Why not.
        source: io::Error,
    },
    /// A side ended before it had answered.
    #[error("{side}: its process ended without an answer ({status}); what it said is above")]
    Ended {
        /// Which one.
        side: String,
        /// How it ended.
        status: String,
    },
    /// A side answered what is no answer.
    #[error("{side}: {line:?} is no answer: {reason}")]
    Answer {
        /// Which one.
        side: String,
        /// The line.
        line: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A side could not measure.
    #[error("{side}: {reason}")]
    Failed {
        /// Which one.
        side: String,
        /// Why not.
        reason: String,
    },
    /// Two sides that are compared have other models.
    #[error("the models differ: {ours} parameters, {peer} in the peer; are their configs the same?")]
    Models {
        /// Our parameters.
        ours: u64,
        /// The peer's.
        peer: u64,
    },
    /// A setting is wrong.
    #[error("{key} = {value}: {fix}")]
    Setting {
        /// Which one.
        key: String,
        /// What it is.
        value: String,
        /// What it must be.
        fix: String,
    },
    /// A file cannot be read or written.
    #[error("{what}: {source}")]
    Io {
        /// Which one.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

impl BenchError {
    pub(crate) fn setting(key: impl Into<String>, value: impl ToString, fix: impl Into<String>) -> Self {
        Self::Setting { key: key.into(), value: value.to_string(), fix: fix.into() }
    }
}
