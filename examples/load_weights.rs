//! How long a model directory takes to load: `load_weights DIR [--rounds N]`. `tools/bench_load.py` runs it beside
//! PyTorch.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

/// Loads a model directory and prints how long it took.
#[derive(Parser)]
struct Args {
    /// Model directory, plain or a ContextLM's
    dir: PathBuf,
    /// How often it is loaded
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Where to: cpu, wgpu, cuda, libtorch, as far as they are built in
    #[arg(long, default_value = "cpu")]
    device: String,
}

fn main() -> ExitCode {
    contextlm_examples::report(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let device = contextlm_device::device(&args.device)?;
    for _ in 0..args.rounds {
        let clock = Instant::now();
        let loaded = contextlm_weights::load(&args.dir, &device)?;
        let seconds = clock.elapsed().as_secs_f64();
        println!("{seconds:.4} s, {} parameters", loaded.model.parameters().total);
    }
    Ok(())
}
