//! How fast text is generated. `tools/bench_generate.py` and, on CUDA, `tools/gpu/speed.py` run it beside `transformers`.
//!
//! Every line of stdin asks for one measurement, answered by one line of JSON:
//! - `generate MODEL PROMPT NEW`: greedy generation of NEW tokens behind a prompt of PROMPT tokens; MODEL is `plain`, the
//!   backbone, or `context`, a ContextLM of its size with default settings;
//! - `bandwidth`: how fast memory is read;
//! - `context`: the context settings.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use contextlm_core::{Backbone, ContextLm, ContextLmConfig, Device, FloatDType};
use contextlm_generate::{GenerateOptions, Generator};
use serde_json::{Value, json};

/// Measures generation, as lines of stdin ask for it.
#[derive(Parser)]
struct Args {
    /// Preset of both models, random weights
    #[arg(long, default_value = "gpt2")]
    preset: String,
    /// Directory of the plain model, instead of random weights
    #[arg(long)]
    model: Option<PathBuf>,
    /// Where to compute: cpu, wgpu, cuda, libtorch, as far as they are built in
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Type of the weights and of matrix products: f32, bf16 or f16
    #[arg(long, default_value = "f32", value_parser = dtype)]
    dtype: FloatDType,
}

fn main() -> ExitCode {
    contextlm_examples::report(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let device = contextlm_device::device(&args.device)?;
    let config = ContextLmConfig::preset(&args.preset)?;
    let plain = match &args.model {
        Some(dir) => contextlm_weights::load(dir, &device)?.model,
        None => config.init(&device)?,
    };
    let context = config.with_default_context().init(&device)?;
    let [plain, context] = [plain, context].map(|model| match args.dtype {
        FloatDType::F32 => model,
        low => model.cast(low),
    });
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match *line.split_whitespace().collect::<Vec<_>>() {
            ["context"] => json!(context.settings()),
            ["bandwidth"] => json!({ "bytes_per_second": bandwidth() }),
            ["generate", model, prompt, new] => {
                let model = if model == "plain" { &plain } else { &context };
                generate(model, prompt.parse()?, new.parse()?, &device)?
            }
            _ => {
                return Err(
                    format!("{line}: must be `bandwidth`, `context` or `generate plain|context PROMPT NEW`").into()
                );
            }
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn generate(model: &ContextLm, prompt: usize, new: usize, device: &Device) -> Result<Value, Box<dyn Error>> {
    let vocabulary = model.backbone.spec().vocabulary;
    // Any tokens would do; the peer gets the same.
    let prompt: Vec<u32> = (0..prompt).map(|i| (i * 7919 % vocabulary) as u32).collect();
    let no_text = |_: &[u32]| Ok(String::new());
    let options = GenerateOptions { max_new_tokens: new, ..GenerateOptions::default() };
    let mut generator = Generator::new(model, &[&prompt], options, no_text, device)?;
    let clock = Instant::now();
    generator.step()?;
    let prefill = clock.elapsed().as_secs_f64();
    while generator.step()? {}
    let decode = clock.elapsed().as_secs_f64() - prefill;
    let tokens = generator.into_generated().remove(0).tokens;
    Ok(json!({ "prefill_seconds": prefill, "decode_seconds_per_token": decode / (new - 1) as f64, "tokens": tokens }))
}

/// Bytes a second that all threads together read from memory, the best of five times.
fn bandwidth() -> f64 {
    let numbers = vec![1u64; 64 << 20];
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let seconds = (0..5).map(|_| {
        let clock = Instant::now();
        let read =
            |part: &[u64]| std::hint::black_box(part.iter().fold(0, |sum: u64, number| sum.wrapping_add(*number)));
        std::thread::scope(|scope| {
            for part in numbers.chunks(numbers.len().div_ceil(threads)) {
                scope.spawn(move || read(part));
            }
        });
        clock.elapsed().as_secs_f64()
    });
    size_of_val(numbers.as_slice()) as f64 / seconds.fold(f64::INFINITY, f64::min)
}

fn dtype(name: &str) -> Result<FloatDType, String> {
    match name {
        "f32" => Ok(FloatDType::F32),
        "bf16" => Ok(FloatDType::BF16),
        "f16" => Ok(FloatDType::F16),
        _ => Err("must be f32, bf16 or f16".into()),
    }
}
