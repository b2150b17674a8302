//! Times training steps of a GPT-2 of any shape on random tokens, for comparisons with other programs.
//!
//! `tools/bench_torch.py` and `tools/bench_memory.py` run it in turn with PyTorch.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use contextlm_core::{BackboneConfig, ContextLmConfig, Gpt2Config};
use contextlm_data::Batches;
use contextlm_examples::StepShape;
use contextlm_train::{TrainConfig, Trainer};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::json;

/// Times training steps: forward, backward, clipping and AdamW.
#[derive(Parser)]
struct Args {
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
    /// Compute cheap operations again in the backward pass instead of keeping what they gave
    #[arg(long)]
    gradient_checkpointing: bool,
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
    let StepShape { width, layers, heads, vocabulary, rows, length } = args.shape;
    let empty = contextlm_examples::anonymous_bytes();
    let device = contextlm_device::device(&args.device)?.autodiff();
    let device = if args.gradient_checkpointing { device.gradient_checkpointing() } else { device };
    let plain = ContextLmConfig::new(BackboneConfig::Gpt2(Gpt2Config {
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
    }));
    let config = if args.context { plain.with_default_context() } else { plain };
    let model = config.init(&device)?;
    let parameters = model.parameters().total;

    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let vocabulary = vocabulary.max(1) as u64;
    let count = 8 * rows * length + 1;
    let tokens: Arc<[u32]> = (0..count).map(|_| (rng.next_u64() % vocabulary) as u32).collect();
    let batches = Batches::new(tokens, length, rows, 0)?;

    let steps = args.warmup + args.steps;
    let mut trainer = Trainer::new(model, TrainConfig { steps, ..TrainConfig::default() })?;
    let (mut seconds, mut loss) = (Vec::new(), f64::NAN);
    let mut memory = None;
    for step in 0..steps {
        if step == args.warmup {
            memory = Some(contextlm_examples::PeakMemory::begin());
        }
        let clock = Instant::now();
        loss = trainer.step(&batches.batch(step as u64)?)?.loss;
        device.sync()?;
        let took = clock.elapsed().as_secs_f64();
        eprintln!("step {}: {took:.3} s, loss {loss:.4}", step + 1);
        if step >= args.warmup {
            seconds.push(took);
        }
    }
    // Memory above that of the program itself; 0 where the system does not tell.
    let above = |bytes: u64| bytes.saturating_sub(empty);
    let peak = above(memory.map_or(0, contextlm_examples::PeakMemory::end));
    let at_rest = above(contextlm_examples::anonymous_bytes());
    let tokens_per_step = rows * length;
    if args.json {
        let all = json!({
            "seconds_per_step": seconds, "parameters": parameters, "tokens_per_step": tokens_per_step, "loss": loss,
            "peak_bytes": peak, "bytes_at_rest": at_rest,
        });
        println!("{all}");
    } else {
        let mean = seconds.iter().sum::<f64>() / seconds.len().max(1) as f64;
        let mib = |bytes: u64| bytes >> 20;
        println!("{parameters} parameters, {tokens_per_step} tokens, {mean:.3} s a step");
        println!("{} MiB at the peak of a step, {} MiB between steps", mib(peak), mib(at_rest));
    }
    Ok(())
}
