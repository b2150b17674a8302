use crate::output::Outcome;

/// Perplexity of a text or of token shards
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Outcome {
    Err("being built".into())
}
