use contextlm_core::LatentLoss;
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// Settings of a training run, in PyTorch's words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimizer steps.
    pub steps: usize,
    /// Largest learning rate.
    pub lr: f64,
    /// AdamW's decay rates of the first and second moment.
    pub betas: (f64, f64),
    /// AdamW's epsilon.
    pub eps: f64,
    /// Decoupled weight decay of matrices and embeddings; vectors have none.
    pub weight_decay: f64,
    /// Largest global norm of the gradients; 0 does not clip.
    pub grad_clip: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: usize,
    /// Where the cosine ends, as a share of `lr`.
    pub min_lr_ratio: f64,
    /// Rows of a batch that go through the model at once; the whole batch if not given. The result is that of the whole
    /// batch, with less memory.
    pub micro_batch: Option<usize>,
    /// Validate after every so many steps, and after the last; 0 validates after the last only.
    pub eval_every: usize,
    /// Loss on the predicted contexts.
    pub latent_loss: LatentLoss,
    /// Its weight.
    pub latent_weight: f64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 1000,
            lr: 1e-3,
            betas: (0.9, 0.95),
            eps: 1e-8,
            weight_decay: 0.1,
            grad_clip: 1.0,
            warmup_steps: 50,
            min_lr_ratio: 0.1,
            micro_batch: None,
            eval_every: 0,
            latent_loss: LatentLoss::None,
            latent_weight: 0.0,
        }
    }
}

impl TrainConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming key, value and fix.
    pub fn validate(&self) -> Result<(), TrainError> {
        let at_least_0 = |value: f64| value.is_finite() && value >= 0.0;
        let share = |value: f64| (0.0..1.0).contains(&value);
        if self.steps == 0 {
            return Err(TrainError::config("steps", 0, "must be at least 1"));
        }
        if self.micro_batch == Some(0) {
            return Err(TrainError::config("micro_batch", 0, "must be at least 1"));
        }
        for (key, value, fits, fix) in [
            ("lr", self.lr, at_least_0(self.lr), "must be 0 or above"),
            ("betas", self.betas.0, share(self.betas.0), "must be at least 0 and below 1"),
            ("betas", self.betas.1, share(self.betas.1), "must be at least 0 and below 1"),
            ("eps", self.eps, at_least_0(self.eps), "must be 0 or above"),
            ("weight_decay", self.weight_decay, at_least_0(self.weight_decay), "must be 0 or above"),
            ("grad_clip", self.grad_clip, at_least_0(self.grad_clip), "must be 0 (off) or above"),
            ("min_lr_ratio", self.min_lr_ratio, (0.0..=1.0).contains(&self.min_lr_ratio), "must be from 0 to 1"),
            ("latent_weight", self.latent_weight, at_least_0(self.latent_weight), "must be 0 or above"),
        ] {
            if !fits {
                return Err(TrainError::config(key, value, fix));
            }
        }
        Ok(())
    }
}
