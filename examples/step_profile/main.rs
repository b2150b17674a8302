//! Where the time of a training step of a GPT-2 goes: every kind of operation alone, forward and backward, at the sizes
//! and as often as a step has it, with the fused operations and without them, beside two floors.
//!
//! The floors are what the arithmetic takes at the speed of a large matrix product, and what reading every input and
//! writing every output once takes at the speed of a copy, both measured in the same run.

mod measure;
mod parts;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use contextlm_examples::StepShape;
use contextlm_kernels::set_fused;
use measure::{copy_rate, median_seconds, product_rate};
use parts::{Part, parts};
use serde_json::json;

/// Times the parts of a training step.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    shape: StepShape,
    /// How often each part is timed; the median counts
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Print a JSON object as the last line
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    contextlm_examples::report(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    args.shape.check()?;
    if args.repeats == 0 {
        return Err("--repeats 0: use at least 1".into());
    }
    let device = contextlm_device::device(&args.device)?;
    let (flops, bytes) = (product_rate(&device, args.repeats), copy_rate(&device, args.repeats));
    println!("matrix products {:.0} GFLOP/s, copies {:.1} GB/s (read and written)\n", flops / 1e9, bytes / 1e9);
    println!(
        "{:<14} {:>5} {:>12} {:>10} {:>12} {:>12}",
        "ms a step", "times", "composed", "fused", "arithmetic", "bytes"
    );

    let (mut total, mut measured) = ([0.0; 4], Vec::new());
    for Part { name, times, flops: part_flops, bytes: part_bytes, mut run } in parts(&args.shape, &device) {
        let mut timed = |fused: bool| {
            set_fused(fused);
            median_seconds(args.repeats, &device, &mut run)
        };
        // In turn, so that a slow minute of the machine hits both.
        let seconds = [timed(false), timed(true), part_flops / flops, part_bytes / bytes];
        let ms = seconds.map(|seconds| seconds * times as f64 * 1e3);
        println!("{name:<14} {times:>5} {:>12.1} {:>10.1} {:>12.1} {:>12.1}", ms[0], ms[1], ms[2], ms[3]);
        total.iter_mut().zip(ms).for_each(|(total, ms)| *total += ms);
        measured.push(json!({
            "part": name, "times": times, "composed_ms": ms[0], "fused_ms": ms[1], "arithmetic_ms": ms[2], "bytes_ms": ms[3],
        }));
    }
    println!("{:<14} {:>5} {:>12.1} {:>10.1} {:>12.1} {:>12.1}", "all", "", total[0], total[1], total[2], total[3]);
    if args.json {
        let StepShape { width, layers, heads, vocabulary, rows, length } = args.shape;
        let shape = json!({
            "width": width, "layers": layers, "heads": heads, "vocabulary": vocabulary, "rows": rows, "length": length,
            "device": args.device,
        });
        let rates = json!({ "product_flops_per_second": flops, "copy_bytes_per_second": bytes });
        println!("{}", json!({ "shape": shape, "rates": rates, "parts": measured }));
    }
    Ok(())
}
