use super::TokenScore;

/// Tokens to score, and those before them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// What is given, at least one token.
    pub context: Vec<u32>,
    /// What is scored behind it.
    pub continuation: Vec<u32>,
}

impl Request {
    /// Tokens that are dropped from the left, so that at most `window` inputs are left. The last token of all is scored
    /// but is no input.
    pub fn dropped(&self, window: usize) -> usize {
        (self.context.len() + self.continuation.len()).saturating_sub(window.saturating_add(1))
    }

    /// The inputs that are left.
    pub(crate) fn inputs(&self, window: usize) -> Vec<u32> {
        let whole = || self.context.iter().chain(&self.continuation).copied();
        let inputs = (self.context.len() + self.continuation.len()).saturating_sub(1);
        whole().take(inputs).skip(self.dropped(window)).collect()
    }
}

/// How likely the continuation of a request is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likelihood {
    /// Sum of the natural log-probabilities of its tokens.
    pub log_likelihood: f64,
    /// Whether every token is the most likely one.
    pub greedy: bool,
}

/// Of no token at all.
impl Default for Likelihood {
    fn default() -> Self {
        Self { log_likelihood: 0.0, greedy: true }
    }
}

impl Likelihood {
    pub(super) fn add(&mut self, token: TokenScore) {
        self.log_likelihood += token.log_probability;
        self.greedy &= token.greedy;
    }
}
