use std::error::Error;
use std::path::PathBuf;

use contextlm_data::{Held, PrepareOptions, Tokenizer, prepare};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde_json::json;

use crate::interrupt;
use crate::output::{Outcome, Report};

/// Turns text files into token shards to train on
///
/// Writes DIR/train/000000.bin and so on, DIR/valid likewise, and a shards.json in each; llm.c and modded-nanogpt read the
/// shards too. What was interrupted goes on with the same call.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// tokenizer.json, or a model directory
    #[arg(long)]
    tokenizer: PathBuf,
    /// Folder to write, empty or not there
    #[arg(long)]
    out: PathBuf,
    /// .txt, .md, .rs and .jsonl files, each also .gz or .zst, .parquet files, and folders of them
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Key of a JSON line, or column of a Parquet file, that holds the text
    #[arg(long, default_value = "text")]
    key: String,
    /// Share of the documents that is held out to validate with, chosen by a hash of their text; 0 holds out none
    #[arg(long, default_value_t = 0.01)]
    valid_fraction: f64,
    /// Files and folders to validate with instead; may be given several times
    #[arg(long, conflicts_with = "valid_fraction")]
    valid: Vec<PathBuf>,
    /// Tokens of a shard
    #[arg(long, default_value_t = PrepareOptions::default().shard_tokens)]
    shard_tokens: usize,
    /// Cuts longer documents into parts of so many bytes, which bounds the memory of encoding
    #[arg(long)]
    part_bytes: Option<usize>,
    /// Counts documents that cannot be read and goes on, instead of stopping at the first
    #[arg(long)]
    skip_bad: bool,
    /// Removes the shards that are in DIR/train and DIR/valid first
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let tokenizer = match args.tokenizer.is_dir() {
        true => Tokenizer::from_dir(&args.tokenizer)?,
        false => Tokenizer::from_file(&args.tokenizer)?,
    };
    let options = PrepareOptions {
        key: args.key.clone(),
        held: match &args.valid[..] {
            [] if args.valid_fraction == 0.0 => None,
            [] => Some(Held::Fraction(args.valid_fraction)),
            paths => Some(Held::Paths(paths.to_vec())),
        },
        shard_tokens: args.shard_tokens,
        skip_bad: args.skip_bad,
        part_bytes: args.part_bytes,
        overwrite: args.overwrite,
    };
    interrupt::on_first(|| ())?;
    let bar = bar()?;
    let found = prepare(&args.inputs, &tokenizer, &args.out, &options, |counts| {
        bar.set_position(counts.tokens);
        bar.set_message(format!("{} documents", HumanCount(counts.documents)));
        !interrupt::interrupted()
    });
    let (tokens, seconds) = (bar.position(), bar.elapsed().as_secs_f64());
    bar.finish_and_clear();
    let found = found?;
    // Models that are trained on the shards take it along.
    tokenizer.save(args.out.join("tokenizer.json"))?;

    for message in &found.messages {
        eprintln!("skipped: {message}");
    }
    let sets = [("train", &found.train), ("valid", &found.valid)];
    let total = |of: fn(&contextlm_data::ShardsInfo) -> u64| of(&found.train) + of(&found.valid);
    let (documents, bytes) = (total(|set| set.documents), total(|set| set.bytes));
    let shards = found.train.shards.len() + found.valid.shards.len();
    let mut text: String = sets
        .iter()
        .map(|(name, set)| {
            let (tokens, documents) = (HumanCount(set.tokens), HumanCount(set.documents));
            format!(
                "{}: {tokens} tokens, {documents} documents, {} shards\n",
                args.out.join(name).display(),
                set.shards.len()
            )
        })
        .collect();
    if found.skipped > 0 {
        text += &format!("{} documents skipped\n", found.skipped);
    }
    let json = json!({
        "tokens": total(|set| set.tokens), "documents": documents, "bytes": bytes, "shards": shards,
        "skipped": found.skipped, "tokens_per_second": tokens as f64 / seconds,
        "train": { "tokens": found.train.tokens, "documents": found.train.documents, "bytes": found.train.bytes },
        "valid": { "tokens": found.valid.tokens, "documents": found.valid.documents, "bytes": found.valid.bytes },
    });
    Ok(Report { text, json })
}

fn bar() -> Result<ProgressBar, Box<dyn Error>> {
    let style = ProgressStyle::with_template("{spinner} {human_pos} tokens, {per_sec}, {msg}, {elapsed}")?;
    Ok(ProgressBar::new_spinner().with_style(style))
}
