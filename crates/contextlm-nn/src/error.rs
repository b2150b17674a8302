use thiserror::Error;

/// What can be wrong with a transformer part before any arithmetic is done.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NnError {
    /// A configuration value does not fit the others.
    #[error("{key} = {value}: {fix}")]
    Config {
        /// The key of the configuration, in Hugging Face's spelling where it has one.
        key: &'static str,
        /// The value that was found.
        value: String,
        /// What would be accepted.
        fix: String,
    },
    /// The document starts of a packed batch are not increasing from 0, or lie outside the row.
    #[error(
        "row {row} of the packed batch: document starts {starts:?} must begin at 0, increase and stay below {length}"
    )]
    Documents {
        /// Row of the batch.
        row: usize,
        /// The starts as given.
        starts: Vec<usize>,
        /// Entries in the row.
        length: usize,
    },
}

impl NnError {
    /// A [`NnError::Config`] in one line.
    pub fn config(key: &'static str, value: impl ToString, fix: impl Into<String>) -> Self {
        Self::Config { key, value: value.to_string(), fix: fix.into() }
    }
}
