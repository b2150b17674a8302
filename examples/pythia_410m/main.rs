//! Builds ContextLM on Pythia-410M, shows its shape and what it costs, scores and continues a prompt, and trains the new
//! parts a little while the backbone stays as it is.
//!
//! The weights are those of `EleutherAI/pythia-410m` from the Hugging Face hub, downloaded into its cache if they are not
//! there; `--weights DIR` takes a model directory instead. Without a network and a cache they are random, and so is the text.

mod prompt;
mod run;
mod shape;
mod train;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use contextlm_core::{Backbone, ContextConfig, ContextLm, ContextLmConfig, Device, Module};
use contextlm_weights::hub::{self, HubOptions};

use crate::prompt::Prompt;

/// The weights that are used if none are asked for.
const PUBLISHED: &str = "EleutherAI/pythia-410m";

/// Builds ContextLM on Pythia-410M, scores a prompt and continues it.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Model directory with config.json, model.safetensors and tokenizer.json: a plain Pythia (any GPT-NeoX or GPT-2
    /// does) or a ContextLM, or the hub's org/name[@revision]; without it EleutherAI/pythia-410m
    #[arg(long)]
    weights: Option<String>,
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
    /// Builds on Pythia-14M with random weights instead, to try the program out
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
    let found = find(&args)?;
    let (trainable, weights) = build(&args, found.as_deref(), &device.clone().autodiff())?;
    let model = trainable.valid();
    let prompt = match &found {
        Some(dir) => Prompt::with_tokenizer(&args.prompt, dir)?,
        None => Prompt::of_bytes(&args.prompt),
    };
    prompt.check(&model, args.max_new_tokens)?;

    shape::print(&model, prompt.tokens.len());
    println!();
    if weights == Weights::Random {
        println!("The weights are random: what follows shows that the model runs, not what it can do.");
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

/// The published weights, which need a network or a cache, are gone without; those that were asked for are not.
fn find(args: &Args) -> Result<Option<PathBuf>, Box<dyn Error>> {
    let options = HubOptions::from_env();
    if let Some(model) = &args.weights {
        return Ok(Some(hub::find(model, &options)?.dir));
    }
    if args.small {
        return Ok(None);
    }
    match hub::find(PUBLISHED, &options) {
        Ok(found) => Ok(Some(found.dir)),
        Err(error) => {
            println!("{error}\n");
            Ok(None)
        }
    }
}

/// The model, and where its values come from.
fn build(args: &Args, found: Option<&Path>, device: &Device) -> Result<(ContextLm, Weights), Box<dyn Error>> {
    let Some(dir) = found else {
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
