use contextlm_nn::NnError;
use thiserror::Error;

/// Why a backbone cannot be built from its config.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackboneError {
    /// A configuration value is not one that can be run.
    #[error("{key} = {value}: {fix}")]
    Config {
        /// The key, as Hugging Face spells it.
        key: &'static str,
        /// The value that was found.
        value: String,
        /// What would be accepted.
        fix: String,
    },
    /// The blocks that follow from the config do not fit together.
    #[error(transparent)]
    Block(#[from] NnError),
}

/// The most blocks that a stack may have.
pub const MAX_LAYERS: usize = 10_000;

impl BackboneError {
    pub(crate) fn config(key: &'static str, value: impl ToString, fix: impl Into<String>) -> Self {
        Self::Config { key, value: value.to_string(), fix: fix.into() }
    }

    /// Checks that a size is at least 1, and small enough that products of two sizes do not overflow.
    pub(crate) fn positive(key: &'static str, value: usize) -> Result<(), Self> {
        match value {
            0 => Err(Self::config(key, value, "must be at least 1")),
            1..=0x7fff_ffff => Ok(()),
            _ => Err(Self::config(key, value, "must be at most 2147483647")),
        }
    }

    /// Checks a number of blocks: each is an allocation before it has weights.
    pub(crate) fn layers(key: &'static str, value: usize) -> Result<(), Self> {
        match value {
            0 => Err(Self::config(key, value, "must be at least 1")),
            1..=MAX_LAYERS => Ok(()),
            _ => Err(Self::config(key, value, format!("must be at most {MAX_LAYERS}"))),
        }
    }

    /// Checks a dropout probability.
    pub(crate) fn probability(key: &'static str, value: f64) -> Result<(), Self> {
        let fits = (0.0..1.0).contains(&value);
        if fits { Ok(()) } else { Err(Self::config(key, value, "must be at least 0 and below 1")) }
    }
}
