//! Builds ContextLM on Pythia-410M, shows its shape and what it costs, scores a prompt and continues it.
//!
//! `cargo run --release --example pythia_410m -- --weights DIR` takes a model directory; without one the weights are
//! random, and so is the text.

mod prompt;
mod run;
mod shape;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use contextlm_core::{ContextConfig, ContextLm, ContextLmConfig, Device};

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
    let (model, weights) = build(&args, &device)?;
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
    // A model whose context parts have learned nothing is worse than its backbone alone.
    let speaker = match weights {
        Weights::FreshContext => ContextLm::plain(model.backbone.clone()),
        _ => model.clone(),
    };
    let score = run::score(&speaker, &prompt, &device)?;
    score.print(&prompt)?;
    if weights == Weights::FreshContext {
        println!("This is the plain backbone. With the context parts, which are fresh and have to be trained:");
        println!("{}", run::score(&model, &prompt, &device)?.summary());
    }
    if args.max_new_tokens > 0 {
        run::continue_prompt(&speaker, &prompt, args.max_new_tokens, &device)?;
    }
    Ok(())
}

/// The model, and a line that says where its values come from.
fn build(args: &Args, device: &Device) -> Result<(ContextLm, Weights), Box<dyn Error>> {
    let Some(dir) = &args.weights else {
        let name = if args.small { "pythia-14m" } else { "pythia-410m" };
        println!("ContextLM on {name}, random weights; pass --weights DIR for real ones\n");
        return Ok((ContextLmConfig::preset(name)?.with_default_context().init(device)?, Weights::Random));
    };
    let model = contextlm_weights::load(dir, device)?.model;
    if model.context.is_some() {
        println!("ContextLM from {}\n", dir.display());
        return Ok((model, Weights::Loaded));
    }
    println!("ContextLM on the backbone in {}; its context parts are fresh\n", dir.display());
    Ok((ContextLm::wrap(model.backbone, ContextConfig::measured(), device)?, Weights::FreshContext))
}
