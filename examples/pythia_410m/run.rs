//! Scoring and continuing, each time over the whole sequence.

use std::error::Error;
use std::time::Instant;

use contextlm_core::{ContextLm, Device, Int, Tensor};

use crate::prompt::Prompt;

/// Natural logarithms of the probabilities of all tokens but the first.
pub(crate) struct Score {
    logprobs: Vec<f64>,
}

impl Score {
    /// A line for every token.
    pub(crate) fn print(&self, prompt: &Prompt) -> Result<(), Box<dyn Error>> {
        println!("{:>7}  {:<20}  {:>8}", "token", "text", "log p");
        let first = (&prompt.tokens[0], None);
        let rest = prompt.tokens[1..].iter().zip(self.logprobs.iter().map(Some));
        for (&token, logprob) in std::iter::once(first).chain(rest) {
            let logprob = logprob.map_or(String::new(), |logprob| format!("{logprob:.3}"));
            println!("{token:>7}  {:<20}  {logprob:>8}", format!("{:?}", prompt.text(&[token])?));
        }
        println!("{}", self.summary());
        Ok(())
    }

    /// All of it in a line.
    pub(crate) fn summary(&self) -> String {
        let nll = -self.logprobs.iter().sum::<f64>();
        let mean = nll / self.logprobs.len() as f64;
        format!("nll {nll:.3} nats, {mean:.3} a token, perplexity {:.2}", mean.exp())
    }
}

/// The log-probabilities of the prompt's tokens, over all logits of the model.
pub(crate) fn score(model: &ContextLm, prompt: &Prompt, device: &Device) -> Result<Score, Box<dyn Error>> {
    let logits = logits(model, &prompt.tokens, device);
    let mut logprobs = Vec::new();
    for (at, &next) in prompt.tokens[1..].iter().enumerate() {
        let row = values(logits.clone().narrow(1, at, 1))?; // a row at a time: all logits are large
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
        logprobs.push(f64::from(row[next as usize] - largest) - sum.ln());
    }
    Ok(Score { logprobs })
}

/// Prints the prompt with the likeliest tokens after it, up to the end of the text.
pub(crate) fn continue_prompt(
    model: &ContextLm,
    prompt: &Prompt,
    new_tokens: usize,
    device: &Device,
) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut tokens = prompt.tokens.clone();
    for _ in 0..new_tokens {
        let last = values(logits(model, &tokens, device).narrow(1, tokens.len() - 1, 1))?;
        let known = last.iter().take(prompt.known()).enumerate();
        let Some((best, _)) = known.max_by(|(_, a), (_, b)| a.total_cmp(b)) else { break };
        if prompt.ends_with(best as u32) {
            break;
        }
        tokens.push(best as u32);
    }
    let (old, new) = tokens.split_at(prompt.tokens.len());
    println!("\n{:?} goes on with {:?}", prompt.text(old)?, prompt.text(new)?);
    println!("{} tokens in {:.1} s", new.len(), start.elapsed().as_secs_f64());
    Ok(())
}

/// [1, T, V] for T tokens.
fn logits(model: &ContextLm, tokens: &[u32], device: &Device) -> Tensor<3> {
    let ids: Vec<i64> = tokens.iter().map(|&token| token.into()).collect();
    model.forward(Tensor::<1, Int>::from_ints(ids.as_slice(), device).unsqueeze::<2>())
}

fn values(tensor: Tensor<3>) -> Result<Vec<f32>, Box<dyn Error>> {
    Ok(tensor.into_data().convert::<f32>().try_to_vec()?)
}
