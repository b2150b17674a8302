use std::path::PathBuf;

use contextlm_core::Backbone;
use contextlm_eval::Windows;
use contextlm_eval::context::{ContextOptions, ProbeOptions, context_report};
use serde_json::json;

use super::input::{Input, check_output, write_output};
use crate::compute::Compute;
use crate::model;
use crate::output::{Bar, Outcome, Report};

/// What the predicted contexts of a model know, and how much it relies on them
///
/// The loss under contexts replaced by the initial one, by their mean, by another text's (of a stream a distant window's) and by the
/// chunk before's, apart for the first token of a chunk; cosines between predictions and the chunks that they predict; linear probes for the tokens of a chunk;
/// attention. A swap shows reliance, not gain: what the contexts have brought is the difference to a trained control.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model directory of a ContextLM, or the hub's `org/name[@revision]`
    #[arg(long)]
    model: String,
    #[command(flatten)]
    input: Input,
    /// Tokens of a window; the model's positions if not given
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// Tokens that are evaluated at most, in windows from all over the text
    #[arg(long, value_name = "N", default_value_t = 65536)]
    limit: usize,
    /// Directory of a control: a model trained like this one, but with source = constant
    #[arg(long, value_name = "DIR")]
    control: Option<String>,
    /// HTML page for the results, with charts
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Chunks that the probes learn from and are scored on
    #[arg(long, value_name = "N", default_value_t = ProbeOptions::default().samples)]
    probe_samples: usize,
    /// Seed of the probes' split and choice of chunks
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Windows that go through the model at once; as many as have 2048 tokens if not given
    #[arg(long, value_name = "N")]
    rows: Option<usize>,
    #[command(flatten)]
    compute: Compute,
}

pub(crate) fn run(args: &Args) -> Outcome {
    args.report.as_deref().map_or(Ok(()), check_output)?;
    let device = args.compute.device()?;
    let found = model::directory(&args.model)?;
    let loaded = args.compute.load(&found.dir, &device)?;
    let control = match &args.control {
        Some(name) => Some(args.compute.load(&model::directory(name)?.dir, &device)?),
        None => None,
    };
    let spec = loaded.model.backbone.spec();
    let sequences = args.input.sequences(&found.dir, spec.vocabulary)?;
    let window = args.window.unwrap_or(spec.max_positions);
    let windows = Windows::new(&sequences, window, Some(args.limit), args.input.unit())?;

    let probe = ProbeOptions { samples: args.probe_samples, seed: args.seed, ..ProbeOptions::default() };
    let options = ContextOptions { rows: args.rows, probe };
    let control = control.as_ref().map(|control| &control.model);
    let bar = Bar::new();
    let report = context_report(&loaded.model, control, &windows, options, &device, &mut |doing, done, of| {
        bar.set(doing, done, of);
    })?;
    drop(bar);

    let (name, input) = (model::named(&found), args.input.name());
    let mut text = report.to_string();
    if let Some(path) = &args.report {
        let title = name.as_str().unwrap_or(&args.model);
        write_output(path, &report.to_html(title, &input)?)?;
        text += &format!("\n{}\n", path.display());
    }
    let mut json = json!(report);
    json["model"] = name;
    json["input"] = json!(input);
    json["control_model"] = json!(args.control);
    json["errors_over"] = json!(args.input.unit_name());
    json["report"] = json!(args.report);
    Ok(Report { text, json })
}
