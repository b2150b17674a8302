use thiserror::Error;

/// Why nothing, or nothing more, can be generated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// A setting is not one that can be run.
    #[error("{key} = {value}: {fix}")]
    Setting {
        /// The key.
        key: &'static str,
        /// The value that was found.
        value: String,
        /// What would be accepted.
        fix: String,
    },
    /// A sequence has no token, so that there is nothing to go on from.
    #[error("prompt {row} has no tokens: give at least one, such as the end-of-text token")]
    EmptyPrompt {
        /// The prompt, counted from 0.
        row: usize,
    },
    /// There are more or fewer pieces than sequences.
    #[error("{found} pieces of tokens for {expected} sequences: give one for each, empty where it has no new token")]
    Rows {
        /// Sequences of the state.
        expected: usize,
        /// Pieces that were given.
        found: usize,
    },
    /// A token is not one of the model's.
    #[error("token {token} of sequence {row}: the model has {vocabulary} tokens, from 0 on")]
    Token {
        /// The sequence, counted from 0.
        row: usize,
        /// The token.
        token: u32,
        /// The model's vocabulary, V.
        vocabulary: usize,
    },
    /// The sequence would be longer than the positions of the backbone.
    #[error(
        "sequence {row} would have {length} tokens, the model has {positions} positions: shorten it, let it slide, or \
         allow longer ones if positions are rotary"
    )]
    Window {
        /// The sequence, counted from 0.
        row: usize,
        /// Tokens that it would have.
        length: usize,
        /// The largest number of positions.
        positions: usize,
    },
    /// The logits have values that are no numbers.
    #[error("the logits of sequence {row} are not finite at its token {position}: check the weights and the dtype")]
    NotFinite {
        /// The sequence, counted from 0.
        row: usize,
        /// Number of tokens before.
        position: usize,
    },
    /// Bias and vocabulary leave no token that could be sampled.
    #[error("no token is left to sample for sequence {row}: loosen logit_bias or vocabulary")]
    NothingToSample {
        /// The sequence, counted from 0.
        row: usize,
    },
    /// Tokens cannot be turned into text.
    #[error("tokens cannot be decoded: {reason}")]
    Decode {
        /// Why, in the decoder's words.
        reason: String,
    },
    /// The device failed.
    #[error("the logits cannot be read from the device: {reason}")]
    Device {
        /// Why.
        reason: String,
    },
}

impl GenerateError {
    pub(crate) fn setting(key: &'static str, value: impl ToString, fix: impl Into<String>) -> Self {
        Self::Setting { key, value: value.to_string(), fix: fix.into() }
    }
}
