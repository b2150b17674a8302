use std::path::PathBuf;

use contextlm_core::Backbone;
use contextlm_eval::Windows;
use contextlm_eval::length::{LengthOptions, length_report};
use serde_json::json;

use super::input::{Input, check_output, write_output};
use crate::compute::Compute;
use crate::model;
use crate::output::{Bar, Outcome, Report};

/// Perplexity by length and by position, within and beyond the length of the training
///
/// The same tokens are scored in windows of every length, so that lengths differ only in how much stands before a token. Beyond
/// the model's positions only rotary models can go.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model directory, of a ContextLM or a plain Hugging Face one, or the hub's `org/name[@revision]`
    #[arg(long)]
    model: String,
    #[command(flatten)]
    input: Input,
    /// Tokens of a window, separated by commas
    #[arg(long, value_name = "N,...", value_delimiter = ',', required = true)]
    lengths: Vec<usize>,
    /// Length that the model was trained on; its positions if not given
    #[arg(long, value_name = "N")]
    trained: Option<usize>,
    /// Tokens that are scored at most at each length, in windows from all over the text
    #[arg(long, value_name = "N", default_value_t = 65536)]
    limit: usize,
    /// Picture for the curves (SVG)
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    compute: Compute,
}

pub(crate) fn run(args: &Args) -> Outcome {
    args.plot.as_deref().map_or(Ok(()), check_output)?;
    let device = args.compute.device()?;
    let found = model::directory(&args.model)?;
    let loaded = args.compute.load(&found.dir, &device)?;
    let options = LengthOptions { lengths: args.lengths.clone(), trained: args.trained };
    let lengths = options.lengths(&loaded.model)?;
    let sequences = args.input.sequences(&found.dir, loaded.model.backbone.spec().vocabulary)?;
    let longest = lengths.last().copied().unwrap_or_default();
    let windows = Windows::new(&sequences, longest, Some(args.limit), args.input.unit())?;

    let bar = Bar::new();
    let report =
        length_report(&loaded.model, &windows, &options, &device, &mut |done, of| bar.set("scoring", done, of))?;
    drop(bar);
    let mut text = report.to_string();
    if let Some(path) = &args.plot {
        write_output(path, &report.to_svg()?)?;
        text += &format!("\n{}\n", path.display());
    }
    let mut json = json!(report);
    json["model"] = model::named(&found);
    json["input"] = json!(args.input.name());
    json["errors_over"] = json!(args.input.unit_name());
    json["plot"] = json!(args.plot);
    Ok(Report { text, json })
}
