use std::path::PathBuf;

use contextlm_train::compare::{Group, compare, write_page};
use serde_json::json;

use crate::output::{Outcome, Report};

/// Compares training runs, or groups of seeds, with the first: at equal tokens and at equal compute
///
/// A difference to the first has a confidence interval (95 %, Welch's t) where both sides have two seeds or more. FLOPs are
/// counted from the shape of the model, context path included, forward and backward.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Two or more of: DIR (a run, or a directory with runs in seed-0, seed-1, ...), NAME=DIR,DIR,... (a group with a name)
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    runs: Vec<String>,
    /// Writes tables and curves to one HTML file too
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let groups = args.runs.iter().map(|run| Group::read(run)).collect::<Result<Vec<_>, _>>()?;
    let comparison = compare(&groups)?;
    let mut text = comparison.text();
    let mut json = json!(comparison);
    if let Some(path) = &args.out {
        write_page(path, &groups, &comparison)?;
        text += &format!("\n{}\n", path.display());
        json["page"] = json!(path);
    }
    Ok(Report { text, json })
}
