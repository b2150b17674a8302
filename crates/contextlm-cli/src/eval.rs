//! `contextlm eval`: what a model is worth.

mod perplexity;
mod tasks;

use clap::Subcommand;

use crate::output::Outcome;

/// Evaluates models: perplexity, tasks
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Perplexity(perplexity::Args),
    Tasks(tasks::Args),
}

pub(crate) fn run(args: &Args) -> Outcome {
    match &args.what {
        What::Perplexity(args) => perplexity::run(args),
        What::Tasks(args) => tasks::run(args),
    }
}
