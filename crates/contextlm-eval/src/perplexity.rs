mod corpus;
mod windows;

use contextlm_core::{Backbone, ContextLm, Device};
use contextlm_data::Tokens;
use serde_json::{Value, json};

use crate::EvalError;
use crate::score::{Request, RequestScorer};
pub use corpus::EvalCorpus;
use windows::Windows;

/// Windows whose requests exist at the same time.
const WINDOWS: usize = 256;

/// How a text is cut into windows.
#[derive(Debug, Clone)]
pub struct PerplexityOptions {
    /// Inputs of a window; the model's positions if not given.
    pub window: Option<usize>,
    /// Tokens from one window to the next; the window if not given.
    pub stride: Option<usize>,
    /// Tokens of a batch, the longest input for every request.
    pub batch_tokens: usize,
}

impl Default for PerplexityOptions {
    fn default() -> Self {
        Self { window: None, stride: None, batch_tokens: 4096 }
    }
}

/// How well a model predicts a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Perplexity {
    /// Tokens that were scored.
    pub tokens: u64,
    /// Sum of their negative log-probabilities, nats.
    pub nll: f64,
    /// UTF-8 bytes of the whole text, where they are known.
    pub bytes: Option<u64>,
    /// Words of the whole text, separated by white space, where they are known.
    pub words: Option<u64>,
    /// Sequences that were cut into windows: documents, or one stream.
    pub documents: u64,
    /// Inputs of a window.
    pub window: usize,
    /// Tokens from one window to the next.
    pub stride: usize,
}

impl Perplexity {
    /// exp of the mean negative log-probability of a token.
    pub fn perplexity(&self) -> f64 {
        (self.nll / self.tokens as f64).exp()
    }

    /// exp of the negative log-probability over all words.
    pub fn word_perplexity(&self) -> Option<f64> {
        self.words.filter(|words| *words > 0).map(|words| (self.nll / words as f64).exp())
    }

    /// Negative log-probability over all bytes, in bits.
    pub fn bits_per_byte(&self) -> Option<f64> {
        let bytes = self.bytes.filter(|bytes| *bytes > 0)?;
        Some(self.nll / (std::f64::consts::LN_2 * bytes as f64))
    }

    /// The numbers by the names that programs read.
    pub fn to_json(&self) -> Value {
        json!({
            "tokens": self.tokens, "nll": self.nll, "loss": self.nll / self.tokens as f64,
            "perplexity": self.perplexity(), "bits_per_byte": self.bits_per_byte(),
            "word_perplexity": self.word_perplexity(), "bytes": self.bytes, "words": self.words,
            "documents": self.documents, "window": self.window, "stride": self.stride,
        })
    }
}

/// Scores sequences of tokens, each on its own: every token but the first of each, once. `device` is the model's.
/// `progress` is called with the tokens that are scored, and ends it by giving false.
///
/// With the stride of the window, inputs i..i+W score the tokens i+1..i+W+1, for i = 0, W, 2W, ... With a smaller one,
/// windows are tokens i..i+W for i = 0, S, 2S, ...; each scores those of its tokens that no window before it had, given
/// the tokens before them in it (the rule of Hugging Face's guide to perplexity).
///
/// # Errors
/// [`EvalError::Setting`] for a window or stride that cannot be, and if there is no token to score;
/// [`EvalError::Interrupted`], and those of [`RequestScorer`].
pub fn perplexity<B: Backbone>(
    model: &ContextLm<B>,
    sequences: &[Tokens],
    options: &PerplexityOptions,
    device: &Device,
    mut progress: impl FnMut(u64) -> bool,
) -> Result<Perplexity, EvalError> {
    let positions = model.backbone.spec().max_positions;
    let window = options.window.unwrap_or(positions);
    let scorer = RequestScorer::new(model, window, device)?;
    let stride = options.stride.unwrap_or(window);
    if !(1..=window).contains(&stride) {
        return Err(EvalError::setting("stride", stride, format!("must be from 1 to the window's {window}")));
    }
    let documents = sequences.len() as u64;
    let mut found = Perplexity { tokens: 0, nll: 0.0, bytes: None, words: None, documents, window, stride };
    let all: usize = sequences.iter().map(|tokens| tokens.len().saturating_sub(1)).sum();
    if all == 0 {
        return Err(EvalError::setting("tokens", 0, "there is none to score: give at least two"));
    }
    let mut open: Vec<Vec<Request>> = Vec::new();
    for (number, tokens) in sequences.iter().enumerate() {
        let mut windows = Windows::new(tokens.len(), window, stride).peekable();
        while let Some(range) = windows.next() {
            open.push(vec![range.request(tokens)?]);
            let last = number + 1 == sequences.len() && windows.peek().is_none();
            if !last && open.len() < WINDOWS {
                continue;
            }
            score(&scorer, &open, options.batch_tokens, &mut found, |done| match progress(done) {
                true => Ok(()),
                false => Err(EvalError::Interrupted { done: done as usize, all, kept: false }),
            })?;
            open.clear();
        }
    }
    // The last sequence may have no window.
    score(&scorer, &open, options.batch_tokens, &mut found, |_| Ok(()))?;
    Ok(found)
}

fn score<B: Backbone>(
    scorer: &RequestScorer<'_, B>,
    open: &[Vec<Request>],
    batch_tokens: usize,
    found: &mut Perplexity,
    mut progress: impl FnMut(u64) -> Result<(), EvalError>,
) -> Result<(), EvalError> {
    for batch in scorer.batches(open, batch_tokens) {
        progress(found.tokens)?;
        for (number, likelihoods) in scorer.run(&batch)? {
            found.nll -= likelihoods.iter().map(|found| found.log_likelihood).sum::<f64>();
            found.tokens += open[number].iter().map(|request| request.continuation.len() as u64).sum::<u64>();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
