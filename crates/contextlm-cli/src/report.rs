use std::path::PathBuf;

use contextlm_train::write_report;
use serde_json::json;

use crate::output::{Outcome, Report};

/// Draws losses, rate, gradient norm and speed of a run, which may still be training, as one HTML file
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the run, checkpoint.dir of its config
    run: PathBuf,
    /// Where the page goes; report.html in the directory of the run if not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let written = write_report(&args.run, args.out.as_deref())?;
    let Some(path) = written else {
        return Err(format!("{}: the run has not made a step yet", args.run.display()).into());
    };
    let path = path.display().to_string();
    Ok(Report { json: json!({ "report": path }), text: path })
}
