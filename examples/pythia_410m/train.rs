//! Perplexity of a text, and a few steps that train the context parts on it while the backbone stays as it is.

use std::error::Error;

use contextlm_core::{ContextLm, Device};
use contextlm_data::{Batches, EvalBatches};
use contextlm_train::{OptimizerConfig, ScheduleConfig, ScheduleName, TrainConfig, Trainer, evaluate};

/// Tokens of a window.
const LENGTH: usize = 128;

/// Windows that the perplexity is taken over.
const WINDOWS: usize = 4;

/// The parameters that are not the context's, by their names in a model file.
const BACKBONE: &str = r"(gpt_neox|transformer|model|embed_out|lm_head)\..*";

/// Prints the perplexity over the first windows of a text.
pub(crate) fn perplexity(model: &ContextLm, tokens: &[u32], device: &Device) -> Result<(), Box<dyn Error>> {
    let tokens = &tokens[..tokens.len().min(WINDOWS * LENGTH + 1)];
    let found = evaluate(model, &EvalBatches::new(tokens, LENGTH, 1)?, device)?;
    println!("\ntext: {} tokens in windows of {LENGTH}, perplexity {:.2}", found.tokens, found.perplexity());
    Ok(())
}

/// Trains the context parts on the first window of a text, and prints its loss before and after.
pub(crate) fn context_parts(model: ContextLm, tokens: &[u32], steps: usize) -> Result<(), Box<dyn Error>> {
    let window = &tokens[..tokens.len().min(LENGTH + 1)];
    let batches = Batches::new(window, window.len() - 1, 1, 0)?;
    let config = TrainConfig {
        steps,
        freeze: vec![BACKBONE.into()],
        optimizer: OptimizerConfig { lr: 1e-3, ..OptimizerConfig::default() },
        schedule: ScheduleConfig { name: ScheduleName::Constant, warmup_steps: Some(0), ..ScheduleConfig::default() },
        ..TrainConfig::default()
    };
    let mut trainer = Trainer::new(model, config)?;
    let trained = trainer.decay_groups();
    println!(
        "\ntraining the context parts on {} tokens of the text, {} parameters; the backbone stays as it is",
        window.len() - 1,
        trained.decayed.1 + trained.not_decayed.1
    );
    for step in 0..steps as u64 {
        let done = trainer.step(&batches.batch(step)?)?;
        println!("step {}: loss {:.4} before it", done.step, done.loss);
    }
    let valid = EvalBatches::new(window, window.len() - 1, 1)?;
    let after = trainer.evaluate(&valid)?.loss();
    println!("after {steps} steps: loss {after:.4}");
    Ok(())
}
