//! A sample of what the model writes.

use std::error::Error;

use contextlm_core::{ContextLm, Device, Int, Tensor};
use contextlm_data::Tokenizer;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

const PROMPT: &str = "impl Default for";
const NEW_TOKENS: usize = 96;
const TEMPERATURE: f32 = 0.7;

/// Continues the prompt, one token at a time over the whole sequence so far.
pub fn print(
    model: &ContextLm,
    tokenizer: &Tokenizer,
    length: usize,
    seed: u64,
    device: &Device,
) -> Result<(), Box<dyn Error>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut tokens = tokenizer.encode(PROMPT)?;
    let end = (tokens.len() + NEW_TOKENS).min(length);
    while tokens.len() < end {
        let ids: Vec<i64> = tokens.iter().map(|&token| token.into()).collect();
        let input = Tensor::<1, Int>::from_ints(ids.as_slice(), device).unsqueeze::<2>();
        let last = model.forward(input).narrow(1, ids.len() - 1, 1);
        let logits: Vec<f32> =
            last.into_data().convert::<f32>().try_into_vec().map_err(|error| format!("{error:?}"))?;
        tokens.push(draw(&logits, rng.next_u32() as f32 / u32::MAX as f32));
    }
    println!("\nContextLM continues {PROMPT:?} at temperature {TEMPERATURE}:\n");
    println!("{}", tokenizer.decode(&tokens)?);
    Ok(())
}

/// The token at `share` (0 to 1) of the distribution over tokens.
fn draw(logits: &[f32], share: f32) -> u32 {
    let max = logits.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f32> = logits.iter().map(|logit| ((logit - max) / TEMPERATURE).exp()).collect();
    let mut left = share * weights.iter().sum::<f32>();
    for (token, weight) in weights.iter().enumerate() {
        left -= weight;
        if left <= 0.0 {
            return token as u32;
        }
    }
    weights.len() as u32 - 1
}
