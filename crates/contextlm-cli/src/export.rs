use std::path::PathBuf;

use contextlm_weights::{ModelCard, SaveOptions, save};
use serde_json::json;

use crate::dtype::Dtype;
use crate::model;
use crate::output::{Busy, Outcome, Report};

/// Writes a model directory again, for others to read
///
/// A plain backbone comes out as `transformers` has it. A ContextLM is read by contextlm, and with --with-python by
/// `AutoModelForCausalLM.from_pretrained(dir, trust_remote_code=True)` too.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model directory to read, or the hub's `org/name[@revision]`
    #[arg(long)]
    from: String,
    /// Model directory to write
    #[arg(long)]
    out: PathBuf,
    /// Type of the values in the file
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// Bytes of tensors in one file, as far as tensors can be parted
    #[arg(long, default_value_t = SaveOptions::default().max_shard_bytes)]
    max_shard_bytes: u64,
    /// Adds the Python code of a ContextLM, for `transformers`
    #[arg(long)]
    with_python: bool,
    /// What the model was trained on, for its card
    #[arg(long)]
    training_data: Option<String>,
    /// Replaces what is in --out
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let device = contextlm_device::device("cpu")?;
    let found = model::directory(&args.from)?;
    let loaded = model::load(&found.dir, &device, Dtype::F32)?;
    // What it was made from is known of a directory that import has written.
    let card = ModelCard::of(&found.dir);
    let busy = Busy::new(format!("writing {}", args.out.display()));
    let options = SaveOptions {
        dtype: args.dtype.into(),
        max_shard_bytes: args.max_shard_bytes,
        overwrite: args.overwrite,
        with_python: args.with_python,
        companions: Some(found.dir.clone()),
        card: ModelCard {
            base: found.model.as_ref().map(ToString::to_string).or(card.base),
            training_data: args.training_data.clone().or(card.training_data),
        },
    };
    let files = save(&loaded.model, &loaded.config, &args.out, &options)?;
    drop(busy);
    let text = files.iter().map(|file| args.out.join(file).display().to_string() + "\n").collect();
    Ok(Report { text, json: json!({ "files": files }) })
}
