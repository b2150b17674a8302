use serde::{Deserialize, Serialize};

use super::at_least_0;
use crate::TrainError;

/// Which rule updates the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// AdamW (arXiv 1711.05101).
    #[default]
    AdamW,
    /// Muon for the matrices inside of blocks and of the context path, AdamW for all else. Its updates are scaled to the
    /// size of AdamW's (arXiv 2502.16982), so that `lr` and `weight_decay` mean the same for both.
    Muon,
}

/// The optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The rule.
    pub name: OptimizerName,
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
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self { name: OptimizerName::AdamW, lr: 1e-3, betas: (0.9, 0.95), eps: 1e-8, weight_decay: 0.1, grad_clip: 1.0 }
    }
}

impl OptimizerConfig {
    pub(super) fn validate(&self) -> Result<(), TrainError> {
        for beta in [self.betas.0, self.betas.1] {
            if !(0.0..1.0).contains(&beta) {
                return Err(TrainError::config("optimizer.betas", beta, "must be at least 0 and below 1"));
            }
        }
        at_least_0("optimizer.lr", self.lr)?;
        at_least_0("optimizer.eps", self.eps)?;
        at_least_0("optimizer.weight_decay", self.weight_decay)?;
        at_least_0("optimizer.grad_clip", self.grad_clip)
    }
}
