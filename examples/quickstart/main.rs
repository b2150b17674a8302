//! Trains a ContextLM and its four controls on text that is already here, and shows which is better and why.
//!
//! `cargo run --release --example quickstart` needs no download and no argument: the text is the Rust sources of the
//! packages that Cargo.lock names. `--text PATH...` takes anything else.

mod report;
mod sample;
mod text;
mod training;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use contextlm_core::{BackboneConfig, ContextConfig, Gpt2Config};
use contextlm_examples::five_rows;
use contextlm_weights::SaveOptions;

use crate::text::Text;

/// Trains a ContextLM and its controls on the same batches and compares them.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Text files or folders to train on (.txt, .md, .rs, .jsonl, each also .gz or .zst) instead of the Rust sources
    #[arg(long, num_args = 1..)]
    text: Vec<PathBuf>,
    /// How long all of it may take; more minutes are more steps
    #[arg(long, default_value_t = 7.0, allow_negative_numbers = true)]
    minutes: f64,
    /// Training steps of every model; overrides --minutes
    #[arg(long)]
    steps: Option<usize>,
    /// Seed of weights, batches and the sample
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: cpu, wgpu, cuda, libtorch, as far as they are built in
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Folder for the tokenizer, the metrics, the curves, the table and the ContextLM
    #[arg(long, default_value = "out/quickstart")]
    out: PathBuf,
}

/// Tokens in the vocabulary, layers, width, heads and tokens in a sequence of the plain model.
const VOCABULARY: usize = 1024;
const LAYERS: usize = 4;
const WIDTH: usize = 128;
const HEADS: usize = 4;
pub(crate) const LENGTH: usize = 128;

fn main() -> ExitCode {
    contextlm_examples::report(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    if !(args.minutes.is_finite() && args.minutes > 0.0) {
        return Err(format!("--minutes {}: must be above 0", args.minutes).into());
    }
    if args.steps == Some(0) {
        return Err("--steps 0: must be at least 1".into());
    }
    let device = contextlm_device::device(&args.device)?;
    std::fs::create_dir_all(&args.out).map_err(|error| format!("--out {}: {error}", args.out.display()))?;

    let text = Text::read(&args.text, VOCABULARY, &args.out)?;
    let backbone = BackboneConfig::Gpt2(Gpt2Config {
        vocab_size: text.tokenizer.vocab_size(),
        n_positions: LENGTH,
        n_embd: WIDTH,
        n_layer: LAYERS,
        n_head: HEADS,
        resid_pdrop: 0.0,
        embd_pdrop: 0.0,
        attn_pdrop: 0.0,
        ..Gpt2Config::default()
    });
    let rows = five_rows(backbone, &ContextConfig::measured());

    let plan = training::Plan::new(&text, LENGTH, args.seed, &device, &args.out)?;
    let steps = match args.steps {
        Some(steps) => steps,
        None => plan.steps_in(args.minutes, &rows)?,
    };
    let mut trained = Vec::new();
    for row in &rows {
        trained.push(plan.train(row, steps)?);
    }

    let curves = plan.draw(&trained)?;
    report::print(&trained, &text, steps, &curves, &args.out)?;
    let contextlm = trained.last().ok_or("no model was trained")?;
    let config = &rows.last().ok_or("no model was trained")?.config;
    let (folder, options) = (
        args.out.join("contextlm"),
        SaveOptions { overwrite: true, companions: Some(args.out.clone()), ..SaveOptions::default() },
    );
    contextlm_weights::save(&contextlm.model, config, &folder, &options)?;
    println!("the ContextLM, a model directory: {}", folder.display());
    sample::print(&contextlm.model, &text.tokenizer, LENGTH, args.seed, &device)?;
    Ok(())
}
