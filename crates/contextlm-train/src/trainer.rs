use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use contextlm_core::{Backbone, ChunkGrid, ContextLm, Device, Documents, LossOptions};
use contextlm_data::{Batch, Batches, EvalBatches};
use serde::Serialize;

use crate::decay::adamw;
use crate::schedule::learning_rate;
use crate::tensors::check_batch;
use crate::{
    DecayGroups, Evaluation, Metrics, Progress, TrainConfig, TrainError, batch_tensors, clip_grad_norm, decay_groups,
    evaluate,
};

/// What one optimizer step did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepMetrics {
    /// Steps so far, this one included.
    pub step: usize,
    /// Targets trained on so far.
    pub tokens: u64,
    /// Cross-entropy of the batch before the update, nats a target.
    pub loss: f64,
    /// Latent loss before its weight, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latent_loss: Option<f64>,
    /// Learning rate of the step.
    pub lr: f64,
    /// Global norm of the gradients before clipping.
    pub grad_norm: f64,
    /// Speed of this step.
    pub tokens_per_second: f64,
}

/// A line of the metrics for a validation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct ValidMetrics {
    step: usize,
    valid_loss: f64,
    valid_tokens: usize,
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
    model: ContextLm<B>,
    optimizer: ModuleOptimizer,
    config: TrainConfig,
    device: Device,
    step: usize,
    tokens: u64,
}

impl<B: Backbone> Trainer<B> {
    /// A trainer at step 0. The model is on a device with autodiff.
    ///
    /// # Errors
    /// [`TrainError::Config`] for a wrong setting, or a model that is on no device with autodiff.
    pub fn new(model: ContextLm<B>, config: TrainConfig) -> Result<Self, TrainError> {
        config.validate()?;
        let device = model.devices().into_iter().find(Device::is_autodiff).ok_or_else(|| {
            TrainError::config("device", "without autodiff", "initialise the model on device.autodiff()")
        })?;
        let optimizer = adamw(&model, &config);
        Ok(Self { model, optimizer, config, device, step: 0, tokens: 0 })
    }

    /// The model as it is now.
    pub fn model(&self) -> &ContextLm<B> {
        &self.model
    }

    /// The settings.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Tensors and parameters with and without weight decay.
    pub fn decay_groups(&self) -> DecayGroups {
        decay_groups(&self.model)
    }

    /// One optimizer step on a batch.
    ///
    /// With `micro_batch`, the batch goes through the model in parts. Every part's loss is divided by the targets of the
    /// whole batch and the gradients are added, so that the step is that of the whole batch.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`], which leaves the parameters as they were; [`TrainError::Batch`].
    pub fn step(&mut self, batch: &Batch) -> Result<StepMetrics, TrainError> {
        let clock = Instant::now();
        check_batch(batch, &self.model.backbone.spec())?;
        let scored = batch.scored();
        let (loss, latent_loss, mut gradients) = self.gradients(batch, scored)?;
        let grad_norm = clip_grad_norm(&self.model, &mut gradients, self.config.grad_clip);
        if !loss.is_finite() || !grad_norm.is_finite() {
            return Err(TrainError::NotFinite { step: self.step + 1, loss, grad_norm });
        }

        let lr = learning_rate(&self.config, self.step);
        self.model = self.optimizer.step(lr, self.model.clone(), gradients);
        self.step += 1;
        self.tokens += scored as u64;
        let tokens_per_second = scored as f64 / clock.elapsed().as_secs_f64();
        Ok(StepMetrics { step: self.step, tokens: self.tokens, loss, latent_loss, lr, grad_norm, tokens_per_second })
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
        progress.start(self.config.steps, self.step);
        while self.step < until.min(self.config.steps) {
            let done = self.step(&batches.batch(self.step as u64))?;
            metrics.line(&done)?;
            progress.step(done.loss, done.tokens_per_second);
            run.steps.push(done);

            let every = self.config.eval_every;
            let due = self.step == self.config.steps || (every > 0 && self.step.is_multiple_of(every));
            if let Some(valid) = valid.filter(|_| due) {
                let evaluation = self.evaluate(valid)?;
                let (valid_loss, valid_tokens) = (evaluation.loss(), evaluation.tokens);
                metrics.line(&ValidMetrics { step: self.step, valid_loss, valid_tokens })?;
                run.valid.push((self.step, evaluation));
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
        evaluate(&self.model.valid(), valid, &self.device.clone().inner())
    }

    /// Loss, latent loss and gradients of a batch.
    fn gradients(&self, batch: &Batch, scored: usize) -> Result<(f64, Option<f64>, GradientsParams), TrainError> {
        let micro_batch = self.config.micro_batch.unwrap_or(batch.rows).max(1);
        let latent_divisor = self.latent_divisor(batch)?;
        let (mut loss, mut latent_loss) = (0.0, None);
        let mut gradients = GradientsAccumulator::new();
        for from in (0..batch.rows).step_by(micro_batch) {
            let to = batch.rows.min(from + micro_batch);
            let part = batch_tensors(batch, from, to, &self.device)?;
            let options = LossOptions {
                documents: part.documents,
                divisor: Some(scored.max(1) as f64),
                latent_loss: self.config.latent_loss,
                latent_weight: self.config.latent_weight,
                latent_divisor,
                contexts: None,
            };
            let parts = self.model.loss_with(part.inputs, part.targets, &options);
            loss += parts.cross_entropy.into_scalar::<f64>();
            if let Some(latent) = parts.latent {
                *latent_loss.get_or_insert(0.0) += latent.into_scalar::<f64>();
            }
            let part = GradientsParams::from_grads(parts.total.backward(), &self.model);
            gradients.accumulate(&self.model, part);
        }
        Ok((loss, latent_loss, gradients.grads()))
    }

    /// Predictions of the whole batch that have a chunk to be compared with.
    fn latent_divisor(&self, batch: &Batch) -> Result<Option<f64>, TrainError> {
        let Some(settings) = self.model.settings() else { return Ok(None) };
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

#[cfg(test)]
mod tests;
