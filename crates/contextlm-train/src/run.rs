//! A whole run from a config: data, model, training, checkpoints, metrics, all in one directory.

mod config;
mod directory;
mod keys;
mod tables;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Instant;

pub use config::RunConfig;
use contextlm_core::{AnyBackbone, Backbone, ContextLm, ContextLmConfig, Device};
use contextlm_data::{Batch, Batches, DataError, EvalBatches, Prefetch, ShardSet};
pub use tables::{CheckpointTable, DataTable, EvalTable, LogTable, ModelTable, TrainTable};

use crate::as_read::as_read;
use crate::run::directory::RunDirectory;
use crate::run::watch::Watch;
use crate::{
    About, Checkpoint, CheckpointFolder, DecayGroups, Evaluation, Progress, RunSession, TrainError, TrainProgress,
    Trainer, TrainingSet, ValidLine, ValidationSet, Versions, peak_flops, write_report,
};

/// Batches that are read ahead.
const AHEAD: usize = 4;

/// How a run is begun.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Go on from the newest whole checkpoint, if there is one. Otherwise a directory that is not empty is refused.
    pub resume: bool,
    /// Go on with other settings than the run was begun with.
    pub allow_config_change: bool,
    /// The device as it names itself, as `contextlm_device::hardware` tells: for MFU, and for `run.json`.
    pub hardware: Option<String>,
}

/// What a run has come to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RunSummary {
    /// Steps and tokens, and the smoothed loss, nats a token.
    pub progress: TrainProgress,
    /// The newest validation, be it of this call or of one before, if there was one.
    pub valid: Option<Evaluation>,
    /// Tokens of this call's steps over their time; 0 where it made none.
    pub tokens_per_second: f64,
    /// The newest checkpoint.
    pub checkpoint: Option<PathBuf>,
    /// Damaged checkpoints that were passed over and renamed to `step-00001000.damaged`.
    pub damaged: Vec<String>,
    /// Whether it was stopped before its last step.
    pub stopped: bool,
}

/// What is known once a run is opened, before its first step.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RunStart {
    /// Tensors and parameters with and without weight decay.
    pub decay_groups: DecayGroups,
    /// The checkpoint that is gone on from.
    pub checkpoint: Option<PathBuf>,
    /// Newer ones that are damaged, passed over and renamed to `step-00001000.damaged`, with the reason.
    pub damaged: Vec<String>,
}

/// A run: its trainer, and what it trains on.
struct Session<'a> {
    config: &'a RunConfig,
    model_config: ContextLmConfig,
    trainer: Trainer<AnyBackbone>,
    batches: Batches,
    valid: Option<EvalBatches>,
    directory: RunDirectory,
    checkpoints: CheckpointFolder,
    /// Where the tokenizer is, which belongs into checkpoints.
    companions: Option<PathBuf>,
    summary: RunSummary,
    /// The newest checkpoint from which a step was made that was not skipped: its parameters are good.
    good: Option<PathBuf>,
    /// Lowest validation loss, with the step of its checkpoint.
    best: Option<(f64, usize)>,
    /// Step of the newest validation.
    validated: Option<usize>,
    /// Operations for a token, forward and backward.
    training_flops: Option<u64>,
    /// Operations a second that the device makes at most.
    peak: Option<f64>,
}

/// Runs a config from its start, or from its newest checkpoint, until its last step or until `stop` says so, which is asked
/// after every step. Either way a checkpoint is left. `device` is without autodiff. `started` is called before the first step.
///
/// The directory `checkpoint.dir` gets `config.toml` (every setting written out), `run.json` (sizes and versions),
/// `metrics.jsonl`, `step-00001000` and so on, and at the end, however it comes, `report.html`. Another process that uses it at the same time is refused.
///
/// # Errors
/// [`TrainError`] naming the key, the file, or the step.
pub fn run(
    config: &RunConfig,
    device: &Device,
    options: RunOptions,
    started: impl FnOnce(&RunStart),
    stop: impl Fn() -> bool,
    progress: &Progress,
) -> Result<RunSummary, TrainError> {
    let mut session = Session::open(config, device, options)?;
    let RunSummary { checkpoint, damaged, .. } = session.summary.clone();
    started(&RunStart { decay_groups: session.trainer.decay_groups(), checkpoint, damaged });
    let trained = session.train(stop, progress);
    let report = write_report(session.directory.path(), None);
    trained?;
    report?;
    Ok(session.summary)
}

impl<'a> Session<'a> {
    fn open(config: &'a RunConfig, device: &Device, options: RunOptions) -> Result<Self, TrainError> {
        config.validate()?;
        let training = config.training()?;
        let (rows, length) = (config.rows()?, config.data.sequence_length);
        // What can be wrong with the config is found before anything is written.
        let shape = config.model_config(device)?;
        let spec = shape.clone().plain().init(device)?.backbone.spec();
        config.check_length(spec.max_positions)?;
        let vocabulary = spec.vocabulary;
        let shards = ShardSet::open(&config.data.train, vocabulary)?;
        let info = shards.info().cloned();
        let training_set = TrainingSet::of(&shards)?;
        let mut batches = Batches::new(shards, length, rows, config.train.seed)?;
        let mut validation = None;
        let mut valid = match &config.data.valid {
            None => None,
            Some(dir) => {
                let tokens = ShardSet::open(dir, vocabulary)?.read(0, config.eval.tokens.saturating_add(1))?;
                validation = Some(ValidationSet::of(&tokens));
                Some(EvalBatches::new(tokens, length, config.train.micro_batch.unwrap_or(rows))?)
            }
        };
        if config.data.packing {
            let info = info.ok_or_else(|| {
                let fix =
                    "packing needs a shards.json that names the end-of-text token, as contextlm prepare writes it";
                TrainError::config("data.packing", true, fix)
            })?;
            batches = batches.packed(info.end_of_text);
            valid = valid.map(|valid| valid.packed(info.end_of_text));
        }

        let directory = RunDirectory::open(&config.checkpoint.dir, config, &options)?;
        let checkpoints = CheckpointFolder::new(directory.path());
        let (newest, damaged) = if options.resume { checkpoints.newest()? } else { (None, Vec::new()) };
        let device = match config.train.gradient_checkpointing {
            true => device.clone().autodiff().gradient_checkpointing(),
            false => device.clone().autodiff(),
        };
        let (trainer, model_config) = match &newest {
            Some(checkpoint) => Trainer::resume(checkpoint, training, options.allow_config_change, &device)?,
            None => {
                let (model, model_config) = config.build(&device)?;
                (Trainer::new(model, training)?, model_config)
            }
        };
        let trainer = with_training_set(trainer, newest.as_ref(), training_set, &options)?;
        let keep_valid = directory.same_validation(validation.as_ref(), &options)?;
        // From here on the directory changes.
        checkpoints.set_aside(&damaged)?;
        checkpoints.sweep()?;
        directory.begin(config, trainer.progress().step, keep_valid)?;
        // Forward, and twice as much backward.
        let training_flops = trainer.model().flops_per_token(length).map(|flops| 3 * flops.total);
        let known = options.hardware.as_deref().and_then(|name| peak_flops(name, config.train.dtype));
        let peak = config.log.peak_flops.or(known);
        let about = About {
            parameters: trainer.model().parameters().into(),
            training_flops_per_token: training_flops,
            validation,
            sessions: Vec::new(),
        };
        let process = RunSession {
            from_step: trainer.progress().step,
            device: config.train.device.clone(),
            hardware: options.hardware,
            peak_flops: peak,
            versions: Versions::current(),
        };
        directory.about(about, process)?;
        let validations = directory.validations()?;
        let mut best = None;
        for line in validations.iter().filter(|line| checkpoints.of_step(line.step).exists()) {
            best = better(best, (line.valid_loss, line.step));
        }
        let validated = validations.last().copied();
        let companions = companions(config);
        let summary = RunSummary {
            progress: *trainer.progress(),
            valid: validated.map(|ValidLine { valid_loss, valid_tokens: tokens, .. }| Evaluation {
                nll: valid_loss * tokens as f64,
                tokens,
            }),
            tokens_per_second: 0.0,
            checkpoint: newest.map(|checkpoint| checkpoint.path().to_path_buf()),
            damaged: damaged.into_iter().map(|found| format!("{}: {}", found.path.display(), found.reason)).collect(),
            stopped: false,
        };
        Ok(Self {
            config,
            model_config,
            trainer,
            batches,
            valid,
            directory,
            checkpoints,
            companions,
            summary,
            good: None,
            best,
            validated: validated.map(|line| line.step),
            training_flops,
            peak,
        })
    }

    fn train(&mut self, stop: impl Fn() -> bool, progress: &Progress) -> Result<(), TrainError> {
        let ahead = Prefetch::new(self.batches.clone(), self.trainer.progress().step as u64, AHEAD);
        self.train_on(ahead, stop, progress)
    }

    /// Trains on these batches, which must be enough.
    fn train_on(
        &mut self,
        batches: impl Iterator<Item = Result<Batch, DataError>>,
        stop: impl Fn() -> bool,
        progress: &Progress,
    ) -> Result<(), TrainError> {
        let (done, steps) = (self.trainer.progress().step, self.trainer.config().steps);
        let (dir, flops) = (self.directory.path(), self.training_flops);
        let mut watch = Watch::begin(dir, self.config, done, steps, flops, self.peak, progress)?;
        // A run that was stopped at a step with a validation has not made it.
        if done > 0 && self.is_due(done) && self.validated != Some(done) {
            self.validate(&mut watch)?;
        }
        let (clock, before) = (Instant::now(), self.trainer.progress().tokens);
        let mut aside = std::time::Duration::ZERO;
        for batch in batches.take(steps.saturating_sub(done)) {
            let done = self.trainer.step(&batch?).map_err(|error| self.with_checkpoint(error))?;
            if !done.skipped {
                self.good.clone_from(&self.summary.checkpoint);
            }
            watch.step(done, self.trainer.progress())?;
            let began = Instant::now();
            self.summary.stopped = stop() && done.step < steps;
            let last = done.step == steps || self.summary.stopped;
            if self.is_due(done.step) && !self.summary.stopped {
                self.validate(&mut watch)?;
            }
            if last || is_multiple(done.step, self.config.checkpoint.every) {
                let dir = self.checkpoints.of_step(done.step);
                self.trainer.save_checkpoint(&self.model_config, &dir, self.companions.as_deref())?;
                self.checkpoints.prune(self.config.checkpoint.keep, self.best.map(|(_, step)| step))?;
                self.summary.checkpoint = Some(dir);
            }
            aside += began.elapsed();
            if last {
                break;
            }
        }
        watch.finish();
        self.summary.progress = *self.trainer.progress();
        let step = self.summary.progress.step;
        if step < steps && !self.summary.stopped {
            let reason = format!("they ended after step {step} of {steps}; is there a panic above?");
            return Err(TrainError::Batch { reason });
        }
        let seconds = clock.elapsed().saturating_sub(aside).as_secs_f64();
        let tokens = self.summary.progress.tokens - before;
        self.summary.tokens_per_second = if tokens == 0 { 0.0 } else { tokens as f64 / seconds };
        Ok(())
    }

    /// Whether a validation belongs to a step: at its own interval, at checkpoints, and at the end.
    fn is_due(&self, step: usize) -> bool {
        let every = [self.config.eval.every, self.config.checkpoint.every];
        step == self.trainer.config().steps || every.iter().any(|every| is_multiple(step, *every))
    }

    /// Validates the model as it is now, if there is something to validate with.
    fn validate(&mut self, watch: &mut Watch) -> Result<(), TrainError> {
        let Some(valid) = &self.valid else { return Ok(()) };
        let (found, step) = (self.trainer.evaluate(valid)?, self.trainer.progress().step);
        watch.valid(&found, self.trainer.progress())?;
        self.summary.valid = Some(found);
        self.validated = Some(step);
        // What has no checkpoint cannot be kept.
        if step == self.trainer.config().steps || is_multiple(step, self.config.checkpoint.every) {
            // As a run that goes on reads it from the metrics, so that of two equal losses both take the same one.
            let loss = as_read(&found.loss()).ok().and_then(|loss| loss.as_f64()).unwrap_or(f64::NAN);
            self.best = better(self.best, (loss, step));
        }
        Ok(())
    }

    /// A run that has gone wrong names the last checkpoint from before.
    fn with_checkpoint(&self, error: TrainError) -> TrainError {
        let TrainError::Skipped { step, count, loss, grad_norm, .. } = error else { return error };
        let checkpoint = match (self.good.as_ref().filter(|path| path.exists()), &self.summary.checkpoint) {
            (Some(good), Some(newest)) if good == newest => format!("; the last good checkpoint is {}", good.display()),
            (Some(good), _) => format!(
                "; the last good checkpoint is {}: remove the newer ones, which may hold the parameters that fail, to \
                 resume from it",
                good.display()
            ),
            (None, Some(newest)) => format!("; no step from the newest checkpoint was good, {}", newest.display()),
            (None, None) => String::new(),
        };
        TrainError::Skipped { step, count, loss, grad_norm, checkpoint }
    }
}

/// Whether a step ends an interval; one of 0 never ends.
fn is_multiple(step: usize, every: usize) -> bool {
    every > 0 && step.is_multiple_of(every)
}

/// The lower one of two validation losses with their steps; one that is no number is never the best.
fn better(best: Option<(f64, usize)>, found: (f64, usize)) -> Option<(f64, usize)> {
    match best {
        _ if found.0.is_nan() => best,
        Some(before) if before.0 <= found.0 => Some(before),
        _ => Some(found),
    }
}

/// Ties a trainer to what it trains on; one from a checkpoint goes on with what that was trained on.
fn with_training_set(
    trainer: Trainer<AnyBackbone>,
    checkpoint: Option<&Checkpoint>,
    new: TrainingSet,
    options: &RunOptions,
) -> Result<Trainer<AnyBackbone>, TrainError> {
    if let (Some(checkpoint), Some(old)) = (checkpoint, trainer.training_set().filter(|old| **old != new))
        && !options.allow_config_change
    {
        let text = |set: &TrainingSet| format!("{} tokens with sha256 {}", set.tokens, set.sha256);
        let keys = format!("data.train: {} -> {}", text(old), text(&new));
        return Err(TrainError::ConfigChanged { path: checkpoint.path().into(), keys });
    }
    Ok(trainer.with_training_set(new))
}

/// The directory with the tokenizer: that of the model, or of the shards.
fn companions(config: &RunConfig) -> Option<PathBuf> {
    let shards = config.data.train.as_path();
    let places = [config.model.path.as_deref(), Some(shards), shards.parent()];
    places.into_iter().flatten().find(|dir| dir.join("tokenizer.json").is_file()).map(Path::to_path_buf)
}

impl RunConfig {
    /// The model at the start of the run.
    fn build(&self, device: &Device) -> Result<(ContextLm, ContextLmConfig), TrainError> {
        let config = self.model_config(device)?;
        let seed = self.train.seed;
        let Some(dir) = self.model.path.as_ref().filter(|dir| has_weights(dir)) else {
            return Ok((config.init_seeded(seed, device)?, config));
        };
        let loaded = contextlm_weights::load(dir, device)?;
        match &config.context {
            Some(context) if loaded.config.context.is_none() => {
                Ok((ContextLm::retrofit(loaded.model, context.clone(), seed, device)?, config))
            }
            _ => Ok((loaded.model, config)),
        }
    }
}

/// A directory may have a config alone, for a model of random weights.
fn has_weights(dir: &Path) -> bool {
    ["model.safetensors", "model.safetensors.index.json"].iter().any(|name| dir.join(name).exists())
}

#[cfg(test)]
mod tests;
