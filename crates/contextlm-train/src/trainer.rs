use std::path::Path;
use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use contextlm_core::{Backbone, ChunkGrid, ContextLm, Device, Documents, LossOptions};
use contextlm_data::{Batch, Batches, EvalBatches};
use serde::{Deserialize, Serialize};

use crate::clip::GradNorm;
use crate::freeze::freeze;
use crate::optimizer::{Optimizer, OptimizerState};
use crate::random::random_numbers;
use crate::tensors::check_batch;
use crate::{
    DecayGroups, Evaluation, Metrics, Progress, StepLine, TrainConfig, TrainError, TrainingSet, ValidLine,
    batch_tensors, decay_groups, evaluate,
};

/// What one optimizer step did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Steps so far, this one included.
    pub step: usize,
    /// Targets seen so far, those of skipped steps included.
    pub tokens: u64,
    /// Cross-entropy of the batch before the update, nats a target.
    #[serde(deserialize_with = "crate::record::null_is_nan")]
    pub loss: f64,
    /// Latent loss before its weight, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latent_loss: Option<f64>,
    /// Learning rate of the step.
    pub lr: f64,
    /// Global norm of the gradients before clipping.
    #[serde(deserialize_with = "crate::record::null_is_nan")]
    pub grad_norm: f64,
    /// Speed of this step.
    pub tokens_per_second: f64,
    /// Whether the guard skipped the update.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
}

/// What a run left behind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    /// Every step.
    pub steps: Vec<StepMetrics>,
    /// Every validation, with the number of steps before it.
    pub valid: Vec<(usize, Evaluation)>,
}

/// A model in training: the model, its optimizer, and how far it is.
pub struct Trainer<B: Backbone> {
    /// `None` only while the optimizer has it: no tensor has another holder then, so that it is updated in its place.
    model: Option<ContextLm<B>>,
    optimizer: Optimizer,
    config: TrainConfig,
    device: Device,
    progress: TrainProgress,
    /// This process among those that share the batches.
    rank: u64,
    /// What it trains on, if that is known.
    training_set: Option<TrainingSet>,
}

/// How far a run is: all that the next step depends on, beside parameters and the optimizer's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainProgress {
    /// Steps made.
    pub step: usize,
    /// Targets seen, those of skipped steps included.
    pub tokens: u64,
    /// Mean of the losses so far, in which older ones count less and less. In f32, so that it is read from a checkpoint as it
    /// was written.
    pub smoothed_loss: Option<f32>,
    /// Steps that the guard has skipped.
    pub skipped: usize,
    /// Those of them since the last good one.
    pub skipped_in_a_row: usize,
}

/// What the micro-batches of a step gave, not read from the device yet.
struct Parts {
    losses: Vec<Tensor<1>>,
    /// Empty where there is no latent loss.
    latent_losses: Vec<Tensor<1>>,
    gradients: GradientsParams,
}

impl Parts {
    /// Loss, latent loss and gradients.
    fn read(self) -> (f64, Option<f64>, GradientsParams) {
        let sum = |parts: Vec<Tensor<1>>| parts.into_iter().map(|part| part.into_scalar::<f64>()).sum();
        let latent_loss = (!self.latent_losses.is_empty()).then(|| sum(self.latent_losses));
        (sum(self.losses), latent_loss, self.gradients)
    }
}

/// What an earlier smoothed loss counts beside a new loss.
const SMOOTHING: f64 = 0.98;

impl<B: Backbone> Trainer<B> {
    /// A trainer at step 0. The model is on a device with autodiff; on `device.autodiff().gradient_checkpointing()` the
    /// backward pass computes again what is cheap to compute, instead of keeping it.
    ///
    /// # Errors
    /// [`TrainError::Config`] for a wrong setting, a `freeze` that leaves nothing to train, or a model that is on no device
    /// with autodiff.
    pub fn new(model: ContextLm<B>, config: TrainConfig) -> Result<Self, TrainError> {
        config.validate()?;
        let device = model.devices().into_iter().find(Device::is_autodiff).ok_or_else(|| {
            TrainError::config("device", "without autodiff", "initialise the model on device.autodiff()")
        })?;
        let model = freeze(model, &config.freeze)?;
        let optimizer = Optimizer::new(&config.optimizer);
        let progress = TrainProgress::default();
        Ok(Self { model: Some(model), optimizer, config, device, progress, rank: 0, training_set: None })
    }

    /// The same trainer as one of several processes, with dropout of its own: the rank of its
    /// [`Batches::sharded`]. Adding up gradients and targets over processes is not done here.
    pub fn with_rank(self, rank: u64) -> Self {
        Self { rank, ..self }
    }

    /// The same trainer with what it trains on, which its checkpoints then tell.
    pub fn with_training_set(self, training_set: TrainingSet) -> Self {
        Self { training_set: Some(training_set), ..self }
    }

    /// What it trains on, if it was told, or if the checkpoint that it goes on from tells it.
    pub fn training_set(&self) -> Option<&TrainingSet> {
        self.training_set.as_ref()
    }

    /// The model as it is now.
    pub fn model(&self) -> &ContextLm<B> {
        // It is away within `step` alone, which borrows all of the trainer.
        self.model.as_ref().expect("the model is there between updates")
    }

    /// The settings.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// How far it is.
    pub fn progress(&self) -> &TrainProgress {
        &self.progress
    }

    /// Tensors and parameters with and without weight decay.
    pub fn decay_groups(&self) -> DecayGroups {
        decay_groups(self.model())
    }

    pub(crate) fn optimizer_state(&self) -> OptimizerState {
        self.optimizer.state()
    }

    /// Goes on from a state; `from` is where it was read.
    pub(crate) fn restore(
        &mut self,
        state: OptimizerState,
        progress: TrainProgress,
        from: &Path,
    ) -> Result<(), TrainError> {
        let names: Vec<_> = state.tensors.keys().chain(state.counts.keys()).cloned().collect();
        let device = self.device.clone().inner();
        let restored = self.model.as_ref().map(|model| self.optimizer.restore(model, state, &device));
        let mut missing = restored.unwrap_or_default();
        // A parameter that has had no gradient yet has no state at all: before the first good step that is every one, in
        // rows of a single chunk the predictor's are among them, and so is what was frozen.
        missing
            .retain(|path| names.iter().any(|name| name.strip_prefix(path).is_some_and(|leaf| leaf.starts_with('.'))));
        if !missing.is_empty() {
            let reason = format!("has no optimizer state for {}", missing.join(", "));
            return Err(TrainError::Checkpoint { path: from.into(), reason });
        }
        self.progress = progress;
        Ok(())
    }

    /// One optimizer step on a batch.
    ///
    /// With `micro_batch`, the batch goes through the model in parts. Every part's loss is divided by the targets of the
    /// whole batch and the gradients are added, so that the step is that of the whole batch.
    ///
    /// A step whose loss or gradients are out of line is skipped, see [`GuardConfig`](crate::GuardConfig): the parameters
    /// stay as they were, and the next step goes on with the next batch.
    ///
    /// # Errors
    /// [`TrainError::Skipped`] after too many skipped steps in a row; [`TrainError::Batch`].
    pub fn step(&mut self, batch: &Batch) -> Result<StepMetrics, TrainError> {
        let clock = Instant::now();
        check_batch(batch, &self.model().backbone.spec())?;
        let scored = batch.scored();
        let mut parts = self.gradients(batch, scored)?;
        let grad_norm = GradNorm::of(self.model(), &mut parts.gradients);
        // Read here and not before the backward pass, so that a device that works on its own is waited for only once, and not
        // after clipping, which it may then do beside the next steps here.
        let (loss, latent_loss, mut gradients) = parts.read();
        let grad_norm = grad_norm.clip(self.model(), &mut gradients, self.config.optimizer.grad_clip);
        let lr = self.config.optimizer.lr * self.config.schedule.factor(self.progress.step, self.config.steps);
        let skipped = self.is_bad(loss, grad_norm);
        if !skipped {
            self.model = self.model.take().map(|model| self.optimizer.step(lr, model, gradients));
        }
        self.account(loss, scored, skipped);

        let TrainProgress { step, tokens, skipped_in_a_row, .. } = self.progress;
        if skipped_in_a_row > 0 && skipped_in_a_row >= self.config.guard.max_skipped {
            return Err(TrainError::Skipped {
                step,
                count: skipped_in_a_row,
                loss,
                grad_norm,
                checkpoint: String::new(),
            });
        }
        let tokens_per_second = scored as f64 / clock.elapsed().as_secs_f64();
        Ok(StepMetrics { step, tokens, loss, latent_loss, lr, grad_norm, tokens_per_second, skipped })
    }

    /// Whether a step would do harm.
    fn is_bad(&self, loss: f64, grad_norm: f64) -> bool {
        let max_spike = self.config.guard.max_spike;
        let spikes = |smoothed: f32| max_spike > 0.0 && loss > f64::from(smoothed) + max_spike;
        !loss.is_finite() || !grad_norm.is_finite() || self.progress.smoothed_loss.is_some_and(spikes)
    }

    /// Counts a step.
    fn account(&mut self, loss: f64, scored: usize, skipped: bool) {
        let progress = &mut self.progress;
        progress.step += 1;
        progress.tokens += scored as u64;
        if skipped {
            progress.skipped += 1;
            progress.skipped_in_a_row += 1;
        } else {
            progress.skipped_in_a_row = 0;
            let before = progress.smoothed_loss.map_or(loss, f64::from);
            progress.smoothed_loss = Some((SMOOTHING * before + (1.0 - SMOOTHING) * loss) as f32);
        }
    }

    /// Trains from where the trainer is to the last step, batch `n` of `batches` at step `n`.
    ///
    /// # Errors
    /// Those of [`step`](Self::step), and [`TrainError::File`] if metrics cannot be written.
    pub fn run(
        &mut self,
        batches: &Batches,
        valid: Option<&EvalBatches>,
        metrics: &mut Metrics,
        progress: &Progress,
    ) -> Result<Run, TrainError> {
        self.run_until(self.config.steps, batches, valid, metrics, progress)
    }

    /// The same, but stops after step `until`; a later call goes on from there. The schedule is that of all steps.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn run_until(
        &mut self,
        until: usize,
        batches: &Batches,
        valid: Option<&EvalBatches>,
        metrics: &mut Metrics,
        progress: &Progress,
    ) -> Result<Run, TrainError> {
        let mut run = Run::default();
        progress.start(self.config.steps, self.progress.step);
        while self.progress.step < until.min(self.config.steps) {
            let done = self.step(&batches.batch(self.progress.step as u64)?)?;
            let line = StepLine { metrics: done, smoothed_loss: self.progress.smoothed_loss, mfu: None };
            metrics.line(&line)?;
            progress.step(&line);
            run.steps.push(done);

            let every = self.config.eval_every;
            let step = done.step;
            let due = step == self.config.steps || (every > 0 && step.is_multiple_of(every));
            if let Some(valid) = valid.filter(|_| due) {
                let evaluation = self.evaluate(valid)?;
                let (valid_loss, valid_tokens) = (evaluation.loss(), evaluation.tokens);
                metrics.line(&ValidLine { step, tokens: done.tokens, valid_loss, valid_tokens })?;
                run.valid.push((step, evaluation));
            }
        }
        progress.finish();
        Ok(run)
    }

    /// The validation loss of the model as it is now.
    ///
    /// # Errors
    /// [`TrainError::Batch`] if a batch does not fit.
    pub fn evaluate(&self, valid: &EvalBatches) -> Result<Evaluation, TrainError> {
        let model = self.model().valid();
        let model = self.config.dtype.low().map_or(model.clone(), |dtype| model.cast(dtype));
        evaluate(&model, valid, &self.device.clone().inner())
    }

    /// Losses and gradients of a batch.
    fn gradients(&self, batch: &Batch, scored: usize) -> Result<Parts, TrainError> {
        let micro_batch = self.config.micro_batch.unwrap_or(batch.rows).max(1);
        let latent_divisor = self.latent_divisor(batch)?;
        let (mut losses, mut latent_losses) = (Vec::new(), Vec::new());
        let mut gradients = GradientsAccumulator::new();
        for (number, from) in (0..batch.rows).step_by(micro_batch).enumerate() {
            let to = batch.rows.min(from + micro_batch);
            let part = batch_tensors(batch, from, to, &self.device)?;
            let _drawing = random_numbers();
            self.device.seed(dropout_seed(self.config.seed, self.progress.step, number, self.rank));
            let options = LossOptions {
                documents: part.documents,
                divisor: Some(scored.max(1) as f64),
                z_loss: self.config.loss.z_loss,
                latent_loss: self.config.loss.latent_loss,
                latent_weight: self.config.loss.latent_weight,
                latent_divisor,
                contexts: None,
            };
            // In mixed precision a copy computes; the gradients are those of our own parameters.
            let low = self.config.dtype.low().map(|dtype| self.model().cast(dtype));
            let model = low.as_ref().unwrap_or(self.model());
            let parts = model.loss_with(part.inputs, part.targets, &options);
            losses.push(parts.cross_entropy);
            latent_losses.extend(parts.latent.map(Tensor::detach));
            let part = GradientsParams::from_grads(parts.total.backward(), self.model());
            gradients.accumulate(self.model(), part);
        }
        Ok(Parts { losses, latent_losses, gradients: gradients.grads() })
    }

    /// Predictions of the whole batch that have a chunk to be compared with.
    fn latent_divisor(&self, batch: &Batch) -> Result<Option<f64>, TrainError> {
        let Some(settings) = self.model().settings() else { return Ok(None) };
        let grid = match &batch.documents {
            None => ChunkGrid::uniform(batch.length, settings.chunk_size),
            Some(starts) => {
                let documents = Documents::new(starts.clone(), batch.length)
                    .map_err(|error| TrainError::Batch { reason: error.to_string() })?;
                ChunkGrid::packed(&documents, settings.chunk_size)
            }
        };
        Ok(Some(grid.predicted_chunks(batch.rows).max(1) as f64))
    }
}

/// A seed that depends on all four, mixed as in SplitMix64.
fn dropout_seed(seed: u64, step: usize, micro_batch: usize, rank: u64) -> u64 {
    [seed, step as u64, micro_batch as u64, rank].into_iter().fold(0, |mixed, part| {
        let z = (mixed ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests;
