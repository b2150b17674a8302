use std::path::Path;

use super::RunConfig;
use crate::record::METRICS;
#[cfg(feature = "tensorboard")]
use crate::tensorboard::EventFile;
use crate::{Evaluation, Metrics, Progress, StepLine, StepMetrics, TrainError, TrainProgress, ValidLine};

/// Where it is told what a run does: the file of metrics, TensorBoard, and stderr.
pub(super) struct Watch<'a> {
    metrics: Metrics,
    #[cfg(feature = "tensorboard")]
    events: Option<EventFile>,
    progress: &'a Progress,
    /// Share of the device's peak that a token a second is.
    mfu_per_speed: Option<f64>,
}

impl<'a> Watch<'a> {
    /// `flops_per_token` is that of training; `done` steps were made before.
    pub(super) fn begin(
        dir: &Path,
        config: &RunConfig,
        done: usize,
        steps: usize,
        flops_per_token: Option<u64>,
        peak_flops: Option<f64>,
        progress: &'a Progress,
    ) -> Result<Self, TrainError> {
        progress.start(steps, done);
        #[cfg(not(feature = "tensorboard"))]
        let _ = config;
        Ok(Self {
            metrics: Metrics::append(dir.join(METRICS))?,
            #[cfg(feature = "tensorboard")]
            events: config.log.tensorboard.then(|| EventFile::create(dir, done)).transpose()?,
            progress,
            mfu_per_speed: flops_per_token.zip(peak_flops).map(|(flops, peak)| flops as f64 / peak),
        })
    }

    /// After a step.
    pub(super) fn step(&mut self, metrics: StepMetrics, after: &TrainProgress) -> Result<(), TrainError> {
        let mfu = self.mfu_per_speed.map(|share| share * metrics.tokens_per_second);
        let line = StepLine { metrics, smoothed_loss: after.smoothed_loss, mfu };
        self.metrics.line(&line)?;
        self.progress.step(&line);
        #[cfg(feature = "tensorboard")]
        if let Some(events) = &mut self.events {
            let all = [
                ("loss/train", Some(metrics.loss)),
                ("loss/smoothed", line.smoothed_loss.map(f64::from)),
                ("loss/latent", metrics.latent_loss),
                ("lr", Some(metrics.lr)),
                ("grad_norm", Some(metrics.grad_norm)),
                ("tokens_per_second", Some(metrics.tokens_per_second)),
                ("mfu", line.mfu),
                ("tokens", Some(metrics.tokens as f64)),
            ];
            let known: Vec<_> = all.into_iter().filter_map(|(tag, value)| Some((tag, value?))).collect();
            events.scalars(metrics.step, &known)?;
        }
        Ok(())
    }

    /// After a validation.
    pub(super) fn valid(&mut self, found: &Evaluation, after: &TrainProgress) -> Result<(), TrainError> {
        let (step, tokens) = (after.step, after.tokens);
        self.metrics.line(&ValidLine { step, tokens, valid_loss: found.loss(), valid_tokens: found.tokens })?;
        #[cfg(feature = "tensorboard")]
        if let Some(events) = &mut self.events {
            events.scalars(step, &[("loss/valid", found.loss())])?;
        }
        Ok(())
    }

    /// At the end, however it came.
    pub(super) fn finish(&self) {
        self.progress.finish();
    }
}
