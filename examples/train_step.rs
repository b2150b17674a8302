//! Times training steps of a GPT-2 of any shape, or of a preset, on random tokens, for comparisons with other programs.
//!
//! `tools/gpu/speed.py` runs it in turn with PyTorch; on a CPU, `contextlm bench` does the same in one command.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use contextlm_bench::{PeakMemory, anonymous_bytes};
use contextlm_core::{AnyBackbone, Backbone, BackboneConfig, ContextLmConfig, Gpt2Config};
use contextlm_data::Batches;
use contextlm_examples::{Kernel, StepShape, time_kernels};
use contextlm_train::{TrainConfig, TrainDtype, Trainer};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};

/// Times training steps: forward, backward, clipping and AdamW.
#[derive(Parser)]
struct Args {
    /// A preset, such as gpt2 or pythia-410m, instead of width, layers, heads and vocabulary
    #[arg(long)]
    preset: Option<String>,
    #[command(flatten)]
    shape: StepShape,
    /// Steps that are timed
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Steps before them
    #[arg(long, default_value_t = 2)]
    warmup: usize,
    /// Give the head a weight of its own
    #[arg(long)]
    untied: bool,
    /// Train a ContextLM with default settings instead of the plain model
    #[arg(long)]
    context: bool,
    /// Tokens of a chunk of it, instead of the default
    #[arg(long, requires = "context")]
    chunk_size: Option<usize>,
    /// Type of the matrix products: f32 or bf16
    #[arg(long, default_value = "f32", value_parser = dtype)]
    dtype: TrainDtype,
    /// Compute cheap operations again in the backward pass instead of keeping what they gave
    #[arg(long)]
    gradient_checkpointing: bool,
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Time every kernel of one further step by itself (GPUs through CubeCL)
    #[arg(long)]
    kernels: bool,
    /// Print a JSON object as the last line
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    contextlm_examples::report(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let args = Args::parse();
    let StepShape { rows, length, .. } = args.shape;
    let empty = anonymous_bytes().unwrap_or(0);
    let device = contextlm_device::device(&args.device)?.autodiff();
    let device = if args.gradient_checkpointing { device.gradient_checkpointing() } else { device };
    let config = config(&args)?;
    let model = config.init(&device)?;
    let parameters = model.parameters().total;

    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let vocabulary = model.backbone.spec().vocabulary.max(1) as u64;
    let count = 8 * rows * length + 1;
    let tokens: Arc<[u32]> = (0..count).map(|_| (rng.next_u64() % vocabulary) as u32).collect();
    let batches = Batches::new(tokens, length, rows, 0)?;

    let steps = args.warmup + args.steps;
    let mut trainer = Trainer::new(model, TrainConfig { steps, dtype: args.dtype, ..TrainConfig::default() })?;
    let (mut seconds, mut loss, mut first_result) = (Vec::new(), f64::NAN, 0.0);
    let mut memory = None;
    for step in 0..steps {
        if step == args.warmup {
            memory = Some(PeakMemory::begin());
        }
        let clock = Instant::now();
        loss = trainer.step(&batches.batch(step as u64)?)?.loss;
        device.sync()?;
        let took = clock.elapsed().as_secs_f64();
        eprintln!("step {}: {took:.3} s, loss {loss:.4}", step + 1);
        if step == 0 {
            first_result = begun.elapsed().as_secs_f64();
        }
        if step >= args.warmup {
            seconds.push(took);
        }
    }
    // Memory above that of the program itself; 0 where the system does not tell.
    let above = |bytes: u64| bytes.saturating_sub(empty);
    let peak = above(memory.and_then(PeakMemory::end).unwrap_or(0));
    let at_rest = above(anonymous_bytes().unwrap_or(0));
    // What the pools of a GPU hold has been in use at the peak.
    let on_device = device.memory_pool_usage().map(|usage| usage.bytes_reserved);
    let kernels = if args.kernels { kernels(&mut trainer, &batches)? } else { Vec::new() };
    let tokens_per_step = rows * length;
    if args.json {
        let all = json!({
            "seconds_per_step": seconds, "parameters": parameters, "tokens_per_step": tokens_per_step, "loss": loss,
            "peak_bytes": peak, "bytes_at_rest": at_rest, "device_bytes": on_device,
            "seconds_to_first_result": first_result, "kernels": kernels,
        });
        println!("{all}");
    } else {
        let mean = seconds.iter().sum::<f64>() / seconds.len().max(1) as f64;
        let mib = |bytes: u64| bytes >> 20;
        println!("{parameters} parameters, {tokens_per_step} tokens, {mean:.3} s a step");
        println!("{first_result:.1} s from the start of the program to the end of the first step");
        println!("{} MiB at the peak of a step, {} MiB between steps", mib(peak), mib(at_rest));
    }
    Ok(())
}

/// The preset, or the GPT-2 of the shape, plain or with contexts.
fn config(args: &Args) -> Result<ContextLmConfig, Box<dyn Error>> {
    let StepShape { width, layers, heads, vocabulary, length, .. } = args.shape;
    let plain = match &args.preset {
        Some(name) => ContextLmConfig::preset(name)?,
        None => ContextLmConfig::new(BackboneConfig::Gpt2(Gpt2Config {
            vocab_size: vocabulary,
            n_positions: length,
            n_embd: width,
            n_layer: layers,
            n_head: heads,
            resid_pdrop: 0.0,
            embd_pdrop: 0.0,
            attn_pdrop: 0.0,
            tie_word_embeddings: !args.untied,
            ..Gpt2Config::default()
        })),
    };
    let mut config = if args.context { plain.with_default_context() } else { plain };
    if let (Some(context), Some(chunk_size)) = (&mut config.context, args.chunk_size) {
        context.chunk_size = chunk_size;
    }
    Ok(config)
}

/// One step more, kernel by kernel; the table goes to stderr.
fn kernels(trainer: &mut Trainer<AnyBackbone>, batches: &Batches) -> Result<Vec<Value>, Box<dyn Error>> {
    let batch = batches.batch(0)?;
    let (done, kernels) = time_kernels(|| trainer.step(&batch));
    done?;
    let all: f64 = kernels.iter().map(|kernel| kernel.seconds).sum();
    eprintln!("{:>9} {:>6} {:>6}  kernel, {:.1} ms in all", "ms", "times", "%", 1e3 * all);
    for Kernel { name, times, seconds } in &kernels {
        eprintln!("{:>9.3} {times:>6} {:>6.1}  {name}", 1e3 * seconds, 100.0 * seconds / all);
    }
    let as_json = |kernel: &Kernel| json!({ "name": kernel.name, "times": kernel.times, "seconds": kernel.seconds });
    Ok(kernels.iter().map(as_json).collect())
}

fn dtype(name: &str) -> Result<TrainDtype, String> {
    match name {
        "f32" => Ok(TrainDtype::F32),
        "bf16" => Ok(TrainDtype::Bf16),
        _ => Err("must be f32 or bf16".into()),
    }
}
