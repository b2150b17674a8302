//! The `contextlm` program: see `contextlm --help`.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bench;
mod compare;
mod compute;
mod context;
mod dtype;
mod eval;
mod export;
mod generate;
mod import;
mod inspect;
mod interrupt;
mod model;
mod output;
mod prepare;
mod quantize;
mod report;
mod score;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// ContextLM (arXiv 2510.20280): language models that predict the next chunk of tokens as one vector.
#[derive(Parser)]
#[command(name = "contextlm", version)]
struct Program {
    #[command(subcommand)]
    verb: Verb,
    /// Prints one JSON object as the last line of stdout
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Verb {
    Inspect(inspect::Args),
    Import(import::Args),
    Export(export::Args),
    Prepare(prepare::Args),
    Train(train::Args),
    Report(report::Args),
    Compare(compare::Args),
    Score(score::Args),
    Generate(generate::Args),
    Eval(eval::Args),
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let program = Program::parse();
    let result = match program.verb {
        Verb::Inspect(args) => inspect::run(&args),
        Verb::Import(args) => import::run(&args),
        Verb::Export(args) => export::run(&args),
        Verb::Prepare(args) => prepare::run(&args),
        Verb::Train(args) => train::train(&args),
        Verb::Report(args) => report::run(&args),
        Verb::Compare(args) => compare::run(&args),
        Verb::Score(args) => score::run(&args),
        Verb::Generate(args) => generate::run(&args, program.json),
        Verb::Eval(args) => eval::run(&args),
        Verb::Bench(args) => bench::run(&args),
    };
    output::finish(result, program.json)
}
