use std::error::Error;
use std::fmt::Write;

use contextlm_core::{Backbone, ContextLm};
use contextlm_eval::{PerplexityOptions, perplexity};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::input::Input;
use crate::compute::Compute;
use crate::output::{Outcome, Report};
use crate::quantize::Quantize;
use crate::{interrupt, model};

/// Perplexity of a text or of token shards, in disjoint or strided windows
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model directory, of a ContextLM or a plain Hugging Face one, or the hub's `org/name[@revision]`
    #[arg(long)]
    model: String,
    #[command(flatten)]
    input: Input,
    /// Inputs of a window; the model's positions if not given
    #[arg(long)]
    window: Option<usize>,
    /// Tokens from one window to the next; the window if not given. A smaller one gives more context, and takes longer
    #[arg(long)]
    stride: Option<usize>,
    /// Puts the special tokens around every text that the tokenizer's file asks for: Llama's begin of text; none of
    /// GPT-2 and Pythia
    #[arg(long, conflicts_with = "shards")]
    add_special_tokens: bool,
    /// Tokens of a batch, the longest input for every request; the result does not depend on it
    #[arg(long, default_value_t = PerplexityOptions::default().batch_tokens)]
    batch_tokens: usize,
    #[command(flatten)]
    compute: Compute,
    /// Weights of fewer bits; the perplexity without it is measured too, and the difference is told
    #[arg(long, value_enum)]
    quantize: Option<Quantize>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let device = args.compute.device()?;
    let found = model::directory(&args.model)?;
    let loaded = args.compute.load(&found.dir, &device)?;
    let vocabulary = loaded.model.backbone.spec().vocabulary;
    let corpus = args.input.corpus(&found.dir, vocabulary, args.add_special_tokens)?;

    interrupt::on_first(|| ())?;
    let quantized = match args.quantize {
        Some(_) => Some(Quantize::apply(args.quantize, loaded.model.clone(), args.compute.dtype)?),
        None => None,
    };
    let tokens: u64 = corpus.sequences.iter().map(|tokens| tokens.len().saturating_sub(1) as u64).sum();
    let bar = bar(tokens * if quantized.is_some() { 2 } else { 1 })?;
    let options = PerplexityOptions { window: args.window, stride: args.stride, batch_tokens: args.batch_tokens };
    let measure = |model: &ContextLm, before: u64| {
        perplexity(model, &corpus.sequences, &options, &device, |done| {
            bar.set_position(before + done);
            !interrupt::interrupted()
        })
    };
    let measured = measure(&loaded.model, 0);
    let quantized = match (&measured, &quantized) {
        (Ok(_), Some(model)) => Some(measure(model, tokens)),
        _ => None,
    };
    bar.finish_and_clear();
    let unquantized = measured?;
    let mut measured = quantized.transpose()?.unwrap_or(unquantized);
    (measured.bytes, measured.words) = (corpus.bytes, corpus.words);

    let mut text = String::new();
    let (tokens, window, stride) = (measured.tokens, measured.window, measured.stride);
    writeln!(text, "{tokens} tokens, window {window}, stride {stride}")?;
    writeln!(
        text,
        "perplexity      {:>12.4}, {:.4} nats a token",
        measured.perplexity(),
        measured.nll / tokens as f64
    )?;
    if let Some(perplexity) = measured.word_perplexity() {
        writeln!(text, "word perplexity {perplexity:>12.4}")?;
    }
    if let Some(bits) = measured.bits_per_byte() {
        writeln!(text, "bits per byte   {bits:>12.4}")?;
    }
    let mut json = measured.to_json();
    if let Some(quantize) = args.quantize {
        let (before, after) = (unquantized.perplexity(), measured.perplexity());
        writeln!(text, "without --quantize {before:>9.4}: {} costs {:+.4}", quantize.name(), after - before)?;
        json["quantize"] = json!(quantize.name());
        json["unquantized"] = json!({ "nll": unquantized.nll, "perplexity": before });
        json["perplexity_difference"] = json!(after - before);
    }
    json["model"] = model::named(&found);
    json["text"] = json!(args.input.text);
    json["shards"] = json!(args.input.shards);
    Ok(Report { text, json })
}

fn bar(tokens: u64) -> Result<ProgressBar, Box<dyn Error>> {
    let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} tokens, {per_sec}, {eta} left")?;
    Ok(ProgressBar::new(tokens).with_style(style))
}
