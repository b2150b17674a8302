use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;

use contextlm_core::{Backbone, ContextLm};
use contextlm_eval::{Encoder, EvalCorpus, PerplexityOptions, perplexity};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::input::tokenizer;
use crate::dtype::Dtype;
use crate::output::{Busy, Outcome, Report};
use crate::quantize::Quantize;
use crate::{interrupt, model};

/// Perplexity of a text or of token shards, in disjoint or strided windows
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model directory, of a ContextLM or a plain Hugging Face one, or the hub's `org/name[@revision]`
    #[arg(long)]
    model: String,
    /// Text: .txt, .md and .jsonl, also .gz and .zst, a folder of them, or any other file as plain text
    #[arg(long, required_unless_present = "shards")]
    text: Option<PathBuf>,
    /// Folder of token shards, as `contextlm prepare` writes them
    #[arg(long, conflicts_with = "text")]
    shards: Option<PathBuf>,
    /// Key of a JSON line that holds the text
    #[arg(long, default_value = "text")]
    key: String,
    /// Inputs of a window; the model's positions if not given
    #[arg(long)]
    window: Option<usize>,
    /// Tokens from one window to the next; the window if not given. A smaller one gives more context, and takes longer
    #[arg(long)]
    stride: Option<usize>,
    /// Scores every document on its own, instead of all as one stream
    #[arg(long)]
    documents: bool,
    /// Puts the special tokens around every text that the tokenizer's file asks for: Llama's begin of text; none of
    /// GPT-2 and Pythia
    #[arg(long, conflicts_with = "shards")]
    add_special_tokens: bool,
    /// Tokens of a batch, the longest input for every request; the result does not depend on it
    #[arg(long, default_value_t = PerplexityOptions::default().batch_tokens)]
    batch_tokens: usize,
    /// Where to compute: cpu, wgpu, cuda:0, libtorch, as far as they are built in
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Type of the parameters in memory, and of the matrix products
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// Weights of fewer bits; the perplexity without it is measured too, and the difference is told
    #[arg(long, value_enum)]
    quantize: Option<Quantize>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let device = contextlm_device::device(&args.device)?;
    let found = model::directory(&args.model)?;
    let loaded = model::load(&found.dir, &device, args.dtype)?;
    let busy = Busy::new("reading the text");
    let corpus = match (&args.text, &args.shards) {
        (Some(text), _) => {
            let encoder = Encoder::from_dir(&found.dir, args.add_special_tokens)?;
            EvalCorpus::from_text(text, &args.key, &encoder, args.documents)?
        }
        (None, Some(shards)) => {
            let (vocabulary, tokenizer) = (loaded.model.backbone.spec().vocabulary, tokenizer(&found.dir)?);
            EvalCorpus::from_shards(shards, vocabulary, tokenizer.as_ref(), args.documents)?
        }
        (None, None) => return Err("give --text or --shards".into()),
    };
    drop(busy);

    interrupt::on_first(|| ())?;
    let quantized = match args.quantize {
        Some(_) => Some(Quantize::apply(args.quantize, loaded.model.clone(), args.dtype)?),
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
    json["text"] = json!(args.text);
    json["shards"] = json!(args.shards);
    Ok(Report { text, json })
}

fn bar(tokens: u64) -> Result<ProgressBar, Box<dyn Error>> {
    let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} tokens, {per_sec}, {eta} left")?;
    Ok(ProgressBar::new(tokens).with_style(style))
}
