use std::fmt::Write;
use std::path::PathBuf;

use contextlm_core::Backbone;
use contextlm_train::{DecayGroups, Progress, RunConfig, RunOptions, RunStart, run};
use serde_json::{Value, json};

use crate::interrupt;
use crate::output::{Outcome, Report};

/// Trains a model as a TOML file says
///
/// The directory checkpoint.dir gets the settings, metrics.jsonl, checkpoints, which are model directories, and the curves
/// as report.html. Ctrl-C leaves a checkpoint. One process trains on one device.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Training config; recipes/ has some, with every key explained
    config: PathBuf,
    /// Replaces a value of the config: table.key=value; may be given several times
    #[arg(long, value_name = "TABLE.KEY=VALUE")]
    set: Vec<String>,
    /// Goes on from the newest whole checkpoint in checkpoint.dir
    #[arg(long)]
    resume: bool,
    /// Goes on with other settings than the run was begun with
    #[arg(long, requires = "resume")]
    allow_config_change: bool,
    /// Prints parameters, tokens, schedule and the least memory, and trains nothing; needs neither the data nor the device
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn train(args: &Args) -> Outcome {
    let config = RunConfig::from_file(&args.config, &args.set)?;
    if args.dry_run {
        return dry_run(&config);
    }
    // A device that is not there is found before anything else.
    contextlm_device::device(&config.train.device)?;
    interrupt::on_first(|| ())?;
    let mut reports: Vec<Report> = Vec::new();
    for run in config.runs()? {
        reports.push(train_one(args, &run)?);
        if interrupt::interrupted() {
            break;
        }
    }
    // One run is told as it is; of several seeds, all of them, and what is to be compared.
    let seeds = &config.train.seeds;
    if seeds.is_empty() {
        return reports.pop().ok_or_else(|| "train.seeds: there is no run".into());
    }
    let mean = |key: &str| {
        let values: Option<Vec<f64>> = reports.iter().map(|report| report.json[key].as_f64()).collect();
        values.filter(|values| !values.is_empty()).map(|values| values.iter().sum::<f64>() / values.len() as f64)
    };
    // A seed that was through already has made no step, and so has no speed.
    let speeds: Vec<f64> = reports.iter().filter_map(|report| report.json["tokens_per_second"].as_f64()).collect();
    let speeds: Vec<f64> = speeds.into_iter().filter(|speed| *speed > 0.0).collect();
    let speed = speeds.iter().sum::<f64>() / speeds.len().max(1) as f64;
    let (loss, valid_loss) = (mean("loss"), mean("valid_loss"));
    let sum = |key: &str| reports.iter().filter_map(|report| report.json[key].as_u64()).sum::<u64>();
    let json = json!({
        "steps": sum("steps"), "tokens": sum("tokens"), "loss": loss, "valid_loss": valid_loss,
        "tokens_per_second": speed, "checkpoint": reports.last().map(|report| &report.json["checkpoint"]),
        "skipped": sum("skipped"), "seeds": seeds,
        "runs": reports.iter().map(|report| &report.json).collect::<Vec<&Value>>(),
    });
    let lines = seeds.iter().zip(&reports).map(|(seed, report)| format!("seed {seed}: {}", report.text));
    Ok(Report { text: lines.collect(), json })
}

/// Trains one model.
fn train_one(args: &Args, config: &RunConfig) -> Outcome {
    let device = contextlm_device::device(&config.train.device)?;
    let options = RunOptions {
        resume: args.resume,
        allow_config_change: args.allow_config_change,
        hardware: contextlm_device::hardware(&device),
    };
    let found = run(config, &device, options, tell_start, interrupt::interrupted, &Progress::bar())?;
    let progress = &found.progress;
    let valid_loss = found.valid.map(|valid| valid.loss());
    let checkpoint = found.checkpoint.as_ref().map(|path| path.display().to_string());
    let mut text = format!("{} steps, {} tokens", progress.step, progress.tokens);
    if let Some(loss) = progress.smoothed_loss {
        write!(text, ", smoothed loss {loss:.4}")?;
    }
    if let Some(loss) = valid_loss {
        write!(text, ", validation {loss:.4}")?;
    }
    writeln!(text, ", {:.0} tokens/s", found.tokens_per_second)?;
    if let Some(path) = &checkpoint {
        writeln!(text, "{path}")?;
    }
    let json = json!({
        "steps": progress.step, "tokens": progress.tokens, "loss": progress.smoothed_loss, "valid_loss": valid_loss,
        "tokens_per_second": found.tokens_per_second, "checkpoint": checkpoint, "skipped": progress.skipped,
    });
    Ok(Report { text, json })
}

/// The facts that catch mistakes, on stderr before the first step.
fn tell_start(start: &RunStart) {
    for damaged in &start.damaged {
        eprintln!("warning: damaged checkpoint passed over: {damaged}");
    }
    if let Some(path) = &start.checkpoint {
        eprintln!("resuming from {}", path.display());
    }
    let DecayGroups { decayed, not_decayed } = start.decay_groups;
    eprintln!("weight decay: {} tensors with {} parameters", decayed.0, decayed.1);
    eprintln!("no weight decay: {} tensors with {} parameters", not_decayed.0, not_decayed.1);
}

/// What a run would be, without its data and its device.
fn dry_run(config: &RunConfig) -> Outcome {
    let cpu = contextlm_device::device("cpu")?;
    // Seeds differ in nothing that is told here.
    let runs = config.runs()?;
    let (training, rows) = (config.training()?, config.rows()?);
    let shape = config.model_config(&cpu)?;
    let model = shape.init(&cpu.autodiff())?;
    let (parameters, length) = (model.parameters(), config.data.sequence_length);
    config.check_length(model.backbone.spec().max_positions)?;
    // Forward, and twice as much backward.
    let flops = model.flops_per_token(length).map(|flops| 3 * flops.total);
    let tokens =
        (training.steps as u64).saturating_mul(config.train.batch_tokens as u64).saturating_mul(runs.len() as u64);
    let seeds = if runs.len() > 1 { format!(", {} seeds", runs.len()) } else { String::new() };
    let memory = config.memory(&model)?;
    let DecayGroups { decayed, not_decayed } = config.decay_groups(&model)?;
    let warmup = training.schedule.warmup(training.steps);
    let rate = |step: usize| training.optimizer.lr * training.schedule.factor(step, training.steps);
    let (first, last) = (rate(0), rate(training.steps.saturating_sub(1)));
    let schedule = json!({ "warmup_steps": warmup, "first_lr": first, "lr": training.optimizer.lr, "last_lr": last });
    let micro_batch = config.train.micro_batch.unwrap_or(rows);
    let mut text = format!(
        "parameters    {} (backbone {}, context {})\n\
         decay         {} tensors with {}, without: {} tensors with {}\n\
         tokens        {tokens}: {} steps of {rows} x {length}, {micro_batch} rows at once{seeds}\n",
        parameters.total,
        parameters.backbone,
        parameters.context,
        decayed.0,
        decayed.1,
        not_decayed.0,
        not_decayed.1,
        training.steps,
    );
    let whole = |flops: u64| format!("{flops} forward and backward; {:.3e} in all", flops as f64 * tokens as f64);
    writeln!(text, "FLOPs a token {}", flops.map_or("unknown".into(), whole))?;
    writeln!(
        text,
        "schedule      {warmup} steps of warm-up from {first:.2e} to {:.2e}, {last:.2e} at the end",
        training.optimizer.lr
    )?;
    let gb = |bytes: u64| format!("{:.2} GB", bytes as f64 / 1e9);
    writeln!(
        text,
        "memory        at least {}: parameters {}, gradients {}, optimizer {}, activations {}\n\
         \x20             {} more where the backend keeps attention probabilities; copies and buffers of the backend on top",
        gb(memory.total),
        gb(memory.parameters),
        gb(memory.gradients),
        gb(memory.optimizer),
        gb(memory.activations),
        gb(memory.attention),
    )?;
    let json = json!({
        "parameters": { "backbone": parameters.backbone, "context": parameters.context, "total": parameters.total },
        "memory_bytes": memory, "steps": training.steps, "tokens": tokens, "runs": runs.len(),
        "rows": rows, "micro_batch": micro_batch,
        "training_flops_per_token": flops, "schedule": schedule,
    });
    Ok(Report { text, json })
}
