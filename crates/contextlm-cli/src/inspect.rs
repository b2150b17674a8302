use std::fmt::Write;

use contextlm_core::{Backbone, ContextConfig, ContextLmConfig};
use contextlm_generate::CacheBytes;
use contextlm_weights::hub::Snapshot;
use contextlm_weights::read_config;
use serde_json::{Value, json};

use crate::context;
use crate::model;
use crate::output::{Outcome, Report};

/// Shows parameters, arithmetic and context settings of a model, without reading its weights or fetching them
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model directory, of a ContextLM or a plain Hugging Face one, or the hub's `org/name[@revision]`
    #[arg(long, required_unless_present = "preset")]
    model: Option<String>,
    /// Published backbone: gpt2 ... gpt2-xl, pythia-14m ... pythia-1.4b
    #[arg(long, conflicts_with = "model")]
    preset: Option<String>,
    /// Context settings to see the preset with: default, or key=value,...; without this it is the plain backbone
    #[arg(long, requires = "preset")]
    context: Option<String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let found = args.model.as_deref().map(model::directory_of_config).transpose()?;
    let config = config(args, found.as_ref())?;
    // Nothing is drawn: a parameter has no values before they are looked at.
    let device = contextlm_device::device("cpu")?;
    let model = config.init(&device)?;
    let (spec, parameters) = (model.backbone.spec(), model.parameters());
    let flops = model.flops_per_token(spec.max_positions);
    let settings = model.settings().map_or(Value::Null, |settings| json!(settings));
    let cache = CacheBytes::of(&model, &device);
    let json = json!({
        "model": found.as_ref().map(model::named),
        "parameters": { "backbone": parameters.backbone, "context": parameters.context, "total": parameters.total },
        "flops_per_token": flops.map(|flops| json!({
            "backbone": flops.backbone, "context": flops.context, "total": flops.total,
        })),
        "context": settings,
        "cache_bytes": cache.map(|cache| json!({
            "per_token": cache.per_token, "per_chunk": cache.per_chunk, "per_sequence": cache.per_sequence,
        })),
        "layers": spec.layers, "width": spec.width, "vocabulary": spec.vocabulary, "max_positions": spec.max_positions,
    });
    let mut text = format!(
        "{} layers, width {}, vocabulary {}, {} positions\n\n{:10} {:>15} {:>18}\n",
        spec.layers, spec.width, spec.vocabulary, spec.max_positions, "", "parameters", "FLOPs a token"
    );
    let flops =
        |of: fn(&contextlm_core::FlopsPerToken) -> u64| flops.as_ref().map_or("unknown".into(), |f| of(f).to_string());
    for (name, count, flops) in [
        ("backbone", parameters.backbone, flops(|flops| flops.backbone)),
        ("context", parameters.context, flops(|flops| flops.context)),
        ("total", parameters.total, flops(|flops| flops.total)),
    ] {
        writeln!(text, "{name:10} {count:>15} {flops:>18}")?;
    }
    if let Some(cache) = cache {
        writeln!(text, "\ngeneration remembers, in bytes of f32")?;
        for (what, bytes) in [("token", cache.per_token), ("chunk", cache.per_chunk), ("sequence", cache.per_sequence)]
        {
            writeln!(text, "  a {what:8} {bytes:>17}")?;
        }
    }
    if let Value::Object(settings) = &json["context"] {
        text += "\ncontext\n";
        for (key, value) in settings {
            writeln!(text, "  {key} = {value}")?;
        }
    }
    Ok(Report { text, json })
}

fn config(args: &Args, found: Option<&Snapshot>) -> Result<ContextLmConfig, Box<dyn std::error::Error>> {
    if let Some(Snapshot { dir, .. }) = found {
        return Ok(read_config(dir)?);
    }
    let plain = ContextLmConfig::preset(args.preset.as_deref().unwrap_or_default())?;
    Ok(match &args.context {
        Some(text) => plain.with_context(context::parse(text, ContextConfig::default())?),
        None => plain,
    })
}
