//! Builds ContextLM on Pythia-410M, shows its shape and what it costs, scores and continues a prompt, and trains the new
//! parts a little while the backbone stays as it is.
//!
//! `cargo run --release --example pythia_410m -- --weights DIR` takes a model directory; without one the weights are
//! random, and so is the text.

mod prompt;
mod run;
mod shape;
mod train;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use contextlm_core::{Backbone, ContextConfig, ContextLm, ContextLmConfig, Device, Module};

use crate::prompt::Prompt;

/// Builds ContextLM on Pythia-410M, scores a prompt and continues it.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Model directory with config.json, model.safetensors and tokenizer.json: a plain Pythia (any GPT-NeoX or GPT-2
    /// does) or a ContextLM; without it the weights are random
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Text to score and to continue
    #[arg(long, default_value = "The quick brown fox jumps over the lazy dog. The lazy dog")]
    prompt: String,
    /// Tokens to continue the prompt by
    #[arg(long, default_value_t = 16)]
    max_new_tokens: usize,
    /// Text for the perplexity and for a little training; this project's README without it
    #[arg(long)]
    text: Option<PathBuf>,
    /// Steps of training the context parts on one window of 128 tokens
    #[arg(long, default_value_t = 5)]
    train_steps: usize,
    /// Where to compute: cpu, wgpu, cuda, libtorch, as far as they are built in
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Builds on Pythia-14M instead, to try the program out
    #[arg(long, conflicts_with = "weights")]
    small: bool,
}

/// Where the values of a model's context parts come from.
#[derive(PartialEq)]
enum Weights {
    /// The whole model was loaded.
    Loaded,
    /// The backbone was loaded; the context parts are at their first values.
    FreshContext,
    /// Nothing was.
    Random,
}

fn main() -> ExitCode {
    contextlm_examples::report(show())
}

fn show() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let device = contextlm_device::device(&args.device)?;
    // To be trained in the end; what only computes goes through `model`, which is the same without its tape.
    let (trainable, weights) = build(&args, &device.clone().autodiff())?;
    let model = trainable.valid();
    let prompt = match &args.weights {
        Some(dir) => Prompt::with_tokenizer(&args.prompt, dir)?,
        None => Prompt::of_bytes(&args.prompt),
    };
    prompt.check(&model, args.max_new_tokens)?;

    shape::print(&model, prompt.tokens.len());
    println!();
    if weights == Weights::Random {
        println!(
            "Without --weights DIR the weights are random: what follows shows that the model runs, not what it can do."
        );
        println!("The tokens are the prompt's bytes, and only bytes are continued with.\n");
    }
    if weights == Weights::FreshContext {
        println!(
            "The context parts are fresh, and start without any effect: what follows is what the backbone alone says.\n"
        );
    }
    run::score(&model, &prompt, &device)?.print(&prompt)?;
    if args.max_new_tokens > 0 {
        run::continue_prompt(&model, &prompt, args.max_new_tokens, &device)?;
    }

    let text = match &args.text {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("--text {}: {error}", path.display()))?,
        None => include_str!("../../README.md").to_string(),
    };
    let tokens = prompt.encode(&text)?;
    if tokens.len() < 2 {
        return Err("--text: at least 2 tokens are needed".into());
    }
    train::perplexity(&model, &tokens, &device)?;
    if args.train_steps > 0 {
        drop(model);
        train::context_parts(trainable, &tokens, args.train_steps)?;
    }
    Ok(())
}

/// The model, and a line that says where its values come from.
fn build(args: &Args, device: &Device) -> Result<(ContextLm, Weights), Box<dyn Error>> {
    let Some(dir) = &args.weights else {
        let name = if args.small { "pythia-14m" } else { "pythia-410m" };
        println!("ContextLM on {name}, random weights; pass --weights DIR for real ones\n");
        let plain = ContextLmConfig::preset(name)?.init(device)?;
        return Ok((retrofitted(plain, device)?, Weights::Random));
    };
    let model = contextlm_weights::load(dir, device)?.model;
    if model.context.is_some() {
        println!("ContextLM from {}\n", dir.display());
        return Ok((model, Weights::Loaded));
    }
    println!("ContextLM on the backbone in {}; its context parts are fresh\n", dir.display());
    Ok((retrofitted(model, device)?, Weights::FreshContext))
}

/// A plain model with context parts that start without any effect.
fn retrofitted(plain: ContextLm, device: &Device) -> Result<ContextLm, Box<dyn Error>> {
    let context = ContextConfig::for_retrofit(&plain.backbone.spec());
    Ok(ContextLm::retrofit(plain, context, 0, device)?)
}
