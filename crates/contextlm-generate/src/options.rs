use crate::{Beyond, Cancel, GenerateError, Sampling};

/// How much is generated, from what, and when it ends.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// New tokens at most, for each sample.
    pub max_new_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Samples of every prompt, at most [`MAX_ROWS`](crate::MAX_ROWS) of all prompts together. They share one run of the
    /// prompt, and differ in chance.
    pub samples: usize,
    /// Tokens that end a sample, such as the end of text. They are no part of what is generated.
    pub stop_tokens: Vec<u32>,
    /// Texts that end a sample, also where they begin and end within tokens. They are no part of the text.
    pub stop_strings: Vec<String>,
    /// Whether the log-probability of every new token is wanted.
    pub logprobs: bool,
    /// What happens at the end of the backbone's positions.
    pub beyond: Beyond,
    /// Ends everything early, from another thread.
    pub cancel: Cancel,
}

impl Default for GenerateOptions {
    /// 128 tokens, greedily, one sample.
    fn default() -> Self {
        Self {
            max_new_tokens: 128,
            sampling: Sampling::default(),
            samples: 1,
            stop_tokens: Vec::new(),
            stop_strings: Vec::new(),
            logprobs: false,
            beyond: Beyond::Stop,
            cancel: Cancel::default(),
        }
    }
}

impl GenerateOptions {
    /// Checks the options for a model of `vocabulary` tokens.
    ///
    /// # Errors
    /// [`GenerateError::Setting`] naming key, value and fix.
    pub fn validate(&self, vocabulary: usize) -> Result<(), GenerateError> {
        if self.samples == 0 {
            return Err(GenerateError::setting("samples", 0, "must be at least 1"));
        }
        if self.stop_strings.iter().any(String::is_empty) {
            return Err(GenerateError::setting("stop", "\"\"", "an empty text would stop everything; leave it out"));
        }
        self.sampling.validate(vocabulary)
    }
}

/// Why a sample ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It has as many tokens as were wanted.
    Length,
    /// A stop token came.
    StopToken,
    /// A stop string came.
    StopString,
    /// It is as long as the backbone has positions, and [`Beyond::Stop`] was asked for.
    Window,
    /// It was cancelled.
    Cancelled,
}
