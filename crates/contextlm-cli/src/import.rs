use std::fmt::Write;
use std::path::PathBuf;

use contextlm_core::{Backbone, ContextConfig, ContextLm};
use contextlm_weights::{KeyMap, LoadOptions, Loaded, ModelCard, SaveOptions, save};
use serde_json::json;

use crate::context;
use crate::model;
use crate::output::{Busy, Outcome, Report};

/// Makes a ContextLM of a plain Hugging Face checkpoint
///
/// The backbone keeps its weights. With the fusions projected_add (the default here), concat, and gated_add with gate_init=0
/// the new model computes at first what the old one computes, bit by bit; with the others it does not, and says so.
///
/// A directory that is a ContextLM already, under other tensor names (--key-map), is written as it is, under ours.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model directory to read, or the hub's `org/name[@revision]`
    #[arg(long)]
    from: String,
    /// Model directory to write
    #[arg(long)]
    out: PathBuf,
    /// Settings other than projected_add after half of the blocks: default, or key=value,...
    #[arg(long)]
    context: Option<String>,
    /// Seed of the new parameters
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// File of names that tensors have in the checkpoint: a line is a regular expression, white space, our name
    #[arg(long)]
    key_map: Option<PathBuf>,
    /// Leaves tensors alone that the model has no use for
    #[arg(long)]
    allow_unused: bool,
    /// Replaces what is in --out
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let device = contextlm_device::device("cpu")?;
    let mut options = LoadOptions::default();
    options.allow_unused = args.allow_unused;
    options.key_map = args.key_map.as_ref().map(KeyMap::from_file).transpose()?;

    let found = model::directory(&args.from)?;
    let Loaded { model, mut config, tensors, unused, .. } = model::load_with(&found.dir, &device, &options)?;

    let mut starts_equal = None;
    let model = if config.context.is_some() {
        if let Some(text) = &args.context {
            return Err(format!("--context {text}: {} is a ContextLM already", args.from).into());
        }
        model
    } else {
        let base = ContextConfig::for_retrofit(&model.backbone.spec());
        let context = match &args.context {
            Some(text) => context::parse(text, base)?,
            None => base,
        };
        starts_equal = Some(context.starts_equal());
        config.context = Some(context.clone());
        ContextLm::retrofit(model, context, args.seed, &device)?
    };

    let busy = Busy::new(format!("writing {}", args.out.display()));
    let card = ModelCard::of(&found.dir);
    let base = match &found.model {
        Some(model) => Some(model.to_string()),
        None => card.base.or_else(|| found.dir.file_name().map(|name| name.to_string_lossy().into_owned())),
    };
    let options = SaveOptions {
        overwrite: args.overwrite,
        companions: Some(found.dir.clone()),
        card: ModelCard { base, training_data: card.training_data },
        ..SaveOptions::default()
    };
    save(&model, &config, &args.out, &options)?;
    drop(busy);

    let parameters = model.parameters();
    let mut text = format!(
        "{}: {} parameters, {} of them new; {tensors} tensors read\n",
        args.out.display(),
        parameters.total,
        if starts_equal.is_some() { parameters.context } else { 0 },
    );
    match starts_equal {
        Some(true) => text += "It computes what the original computes until it is trained.\n",
        Some(false) => {
            text += "It does not start equal to the original: this fusion gives contexts a weight at once.\n"
        }
        None => text += "It was a ContextLM already.\n",
    }
    if !unused.is_empty() {
        let names: Vec<_> = unused.iter().map(|name| name.escape_debug().to_string()).collect();
        writeln!(text, "not used: {}", names.join(", "))?;
    }
    let json = json!({
        "model": model::named(&found),
        "parameters": { "backbone": parameters.backbone, "context": parameters.context, "total": parameters.total },
        "tensors": tensors, "unused": unused, "starts_equal": starts_equal,
    });
    Ok(Report { text, json })
}
