//! Does the default configuration train at least as well as the plain backbone, and what do the contexts add?
//!
//! Trains small models on books and writes one JSON file a run, so that a stopped measurement goes on where it was.
//! Stage 1 tries settings with one seed; stage 2 trains the five rows with several seeds. Results and commands are in
//! the book, "Results".

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use contextlm_core::{BackboneConfig, ContextConfig, Device, FusionKind, Gpt2Config, Module, Source};
use contextlm_data::{
    Batches, Corpus, EvalBatches, Held, ReadOptions, Tokenizer, limit_bytes, train_documents, valid_documents,
};
use contextlm_examples::{Row, five_rows, named_row};
use contextlm_train::{
    Evaluation, Metrics, Progress, ScheduleConfig, TrainConfig, Trainer, evaluate_with_swapped_contexts,
};
use serde_json::{Value, json};

/// Trains small models with different context settings and keeps their losses.
#[derive(Parser)]
struct Args {
    /// Files or folders to train on, as in `train-00.jsonl.zst`
    #[arg(long, num_args = 1.., required = true)]
    train: Vec<PathBuf>,
    /// Files or folders to validate with
    #[arg(long, num_args = 1.., required = true)]
    valid: Vec<PathBuf>,
    /// Where results go, one JSON file a run
    #[arg(long)]
    out: PathBuf,
    /// 1: settings, 300 steps. 2: the five rows, 600 steps
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=2))]
    stage: u8,
    /// Stage 2: settings to train, by their names in stage 1
    #[arg(long, value_delimiter = ',', default_value = "contextlm-4L-normed_add-e1-w4")]
    choices: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "0")]
    seeds: Vec<u64>,
    /// Steps instead of 300 or 600, to try the program out
    #[arg(long)]
    steps: Option<usize>,
    #[arg(long, default_value = "cpu")]
    device: String,
}

const VOCABULARY: usize = 4096;
const LENGTH: usize = 256;
const ROWS: usize = 8;

/// Validation after so many steps.
const VALIDATED: [usize; 3] = [100, 300, 600];

/// Text that the tokenizer learns from, that the models learn from, and that they are compared on; bytes.
const TOKENIZER_BYTES: u64 = 8_000_000;
const TRAIN_BYTES: u64 = 24_000_000;
const VALID_BYTES: u64 = 130_000;

fn main() -> ExitCode {
    contextlm_examples::report(compare())
}

fn compare() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let device = contextlm_device::device(&args.device)?;
    std::fs::create_dir_all(&args.out)?;
    let (train, valid) = read(&args)?;
    let (rows, steps) = match args.stage {
        1 => (stage_1(), 300),
        _ => (stage_2(&args.choices)?, 600),
    };
    let steps = args.steps.unwrap_or(steps);
    for &seed in &args.seeds {
        let batches = Batches::new(train.tokens.clone(), LENGTH, ROWS, seed)?;
        let valid = EvalBatches::new(valid.tokens.clone(), LENGTH, ROWS)?;
        for row in &rows {
            let file = args.out.join(format!("{}-seed{seed}.json", row.name));
            if !file.exists() {
                let result = run(row, seed, steps, &batches, &valid, &device)?;
                println!("{:34} seed {seed}: {}", row.name, result["valid"]);
                write(&file, &result)?;
            }
        }
    }
    Ok(())
}

/// The books as tokens.
fn read(args: &Args) -> Result<(Corpus, Corpus), Box<dyn Error>> {
    let (options, held) = (ReadOptions::default(), Held::Paths(args.valid.clone()));
    let training = || train_documents(&args.train, &held, &options);
    let tokenizer = Tokenizer::train(limit_bytes(training()?, TOKENIZER_BYTES), VOCABULARY)?;
    let train = Corpus::encode(limit_bytes(training()?, TRAIN_BYTES), &tokenizer, |_| ())?;
    let held_out = limit_bytes(valid_documents(&args.train, &held, &options)?, VALID_BYTES);
    Ok((train, Corpus::encode(held_out, &tokenizer, |_| ())?))
}

/// A plain GPT-2 of four layers and width 128, without dropout.
fn backbone() -> BackboneConfig {
    BackboneConfig::Gpt2(Gpt2Config {
        vocab_size: VOCABULARY,
        n_positions: LENGTH,
        n_embd: 128,
        n_layer: 4,
        n_head: 4,
        resid_pdrop: 0.0,
        embd_pdrop: 0.0,
        attn_pdrop: 0.0,
        ..Gpt2Config::default()
    })
}

/// The settings that stage 1 tries: `normed_add` over depth and chunk size, the other fusions at depth 1 and w = 4.
fn settings() -> Vec<ContextConfig> {
    let context = |fusion, encoder_layers, chunk_size| ContextConfig {
        fusion,
        encoder_layers,
        chunk_size,
        ..ContextConfig::default()
    };
    let normed = [0, 1, 2].into_iter().flat_map(|e| [4, 2].map(|w| context(FusionKind::NormedAdd, e, w)));
    let others =
        [FusionKind::Add, FusionKind::GatedAdd, FusionKind::ProjectedAdd, FusionKind::Concat, FusionKind::Interleave];
    normed.chain(others.map(|fusion| context(fusion, 1, 4))).collect()
}

fn stage_1() -> Vec<Row> {
    let constant = ContextConfig { source: Source::Constant, ..ContextConfig::default() };
    let controls = [named_row(backbone(), None), named_row(backbone(), Some(constant))];
    controls.into_iter().chain(settings().into_iter().map(|context| named_row(backbone(), Some(context)))).collect()
}

/// The five rows of every choice; rows that choices share are there once.
fn stage_2(choices: &[String]) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows: Vec<Row> = Vec::new();
    for choice in choices {
        let context = settings()
            .into_iter()
            .find(|context| named_row(backbone(), Some(context.clone())).name == *choice)
            .ok_or_else(|| format!("--choices {choice}: not a name of stage 1"))?;
        for row in five_rows(backbone(), &context) {
            if rows.iter().all(|known| known.name != row.name) {
                rows.push(row);
            }
        }
    }
    Ok(rows)
}

/// Trains one model.
fn run(
    row: &Row,
    seed: u64,
    steps: usize,
    batches: &Batches,
    valid: &EvalBatches,
    device: &Device,
) -> Result<Value, Box<dyn Error>> {
    let clock = Instant::now();
    let model = row.config.init_seeded(seed, &device.clone().autodiff())?;
    let parameters = model.parameters();
    let schedule = ScheduleConfig { warmup_steps: Some(50), ..ScheduleConfig::default() };
    let config = TrainConfig { steps, schedule, ..TrainConfig::default() };
    let mut trainer = Trainer::new(model, config.clone())?;
    let (mut losses, mut norms, mut validations) = (Vec::new(), Vec::new(), serde_json::Map::new());
    // One run whose schedule is that of all steps, stopped to validate.
    for until in VALIDATED.into_iter().filter(|&until| until < steps).chain([steps]) {
        let part = trainer.run_until(until, batches, None, &mut Metrics::none(), &Progress::named(&row.name))?;
        losses.extend(part.steps.iter().map(|step| step.loss));
        norms.extend(part.steps.iter().map(|step| step.grad_norm));
        let loss = trainer.evaluate(valid)?.loss();
        let swapped = evaluate_with_swapped_contexts(&trainer.model().valid(), valid, device)?;
        let swapped = swapped.as_ref().map(Evaluation::loss);
        validations.insert(until.to_string(), json!({ "loss": loss, "with_contexts_of_another_text": swapped }));
    }
    Ok(json!({
        "name": row.name, "seed": seed, "steps": steps, "batch": [ROWS, LENGTH],
        "parameters": { "backbone": parameters.backbone, "context": parameters.context, "total": parameters.total },
        "valid": validations, "valid_tokens": valid.scored(), "seconds": clock.elapsed().as_secs_f64(),
        "model": row.config, "training": config, "loss": losses, "grad_norm": norms,
    }))
}

/// Writes a result whole or not at all.
fn write(file: &Path, result: &Value) -> Result<(), Box<dyn Error>> {
    let partial = file.with_extension("partial");
    std::fs::write(&partial, serde_json::to_string(result)?)?;
    Ok(std::fs::rename(partial, file)?)
}
