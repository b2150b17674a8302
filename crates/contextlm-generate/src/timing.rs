use std::time::Duration;

/// How long generation took, by the clock; reading the logits waits for the device.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Timing {
    /// Tokens of the prompts.
    pub prompt_tokens: usize,
    /// The prompts' run.
    pub prefill: Duration,
    /// From the start to the first token, which is chosen from the prompt's logits.
    pub first_token: Duration,
    /// Tokens that were run one by one, of all samples.
    pub decoded_tokens: usize,
    /// Their run.
    pub decode: Duration,
}

impl Timing {
    /// Prompt tokens a second; 0 before the prompt has run.
    pub fn prefill_tokens_per_second(&self) -> f64 {
        per_second(self.prompt_tokens, self.prefill)
    }

    /// New tokens a second, of all samples together; 0 before the second token.
    pub fn decode_tokens_per_second(&self) -> f64 {
        per_second(self.decoded_tokens, self.decode)
    }
}

fn per_second(tokens: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { tokens as f64 / time.as_secs_f64() }
}
