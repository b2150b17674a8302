//! `contextlm eval`: what a model is worth.

mod context;
mod input;
mod length;
mod perplexity;
mod tasks;

use clap::Subcommand;

use crate::output::Outcome;

/// Evaluates models: perplexity, tasks, lengths, and what contexts know
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Perplexity(perplexity::Args),
    Tasks(tasks::Args),
    Context(context::Args),
    Length(length::Args),
}

pub(crate) fn run(args: &Args) -> Outcome {
    match &args.what {
        What::Perplexity(args) => perplexity::run(args),
        What::Tasks(args) => tasks::run(args),
        What::Context(args) => context::run(args),
        What::Length(args) => length::run(args),
    }
}
