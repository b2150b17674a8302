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
    /// Muon as `torch.optim.Muon` has it, for the matrices inside of blocks and of the context path, AdamW for all else.
    Muon,
}

/// How Muon's rate follows from the shape of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdjustLrFn {
    /// sqrt(max(1, outputs / inputs)) times `lr`: Keller Jordan's, and PyTorch's default.
    Original,
    /// 0.2 sqrt(max(outputs, inputs)) times `lr` (arXiv 2502.16982): updates are as large as AdamW's, so that `lr` and
    /// `weight_decay` mean the same for both.
    #[default]
    MatchRmsAdamw,
}

impl AdjustLrFn {
    /// What the rate of a matrix is multiplied by.
    pub(crate) fn factor(self, outputs: usize, inputs: usize) -> f64 {
        let (outputs, inputs) = (outputs as f64, inputs as f64);
        match self {
            Self::Original => (outputs / inputs).max(1.0).sqrt(),
            Self::MatchRmsAdamw => 0.2 * outputs.max(inputs).sqrt(),
        }
    }
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
    /// Muon's momentum.
    pub momentum: f64,
    /// Whether Muon's momentum is Nesterov's.
    pub nesterov: bool,
    /// Newton-Schulz iterations with which Muon makes an update orthogonal.
    pub ns_steps: usize,
    /// How Muon's rate follows from the shape of a matrix.
    pub adjust_lr_fn: AdjustLrFn,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            name: OptimizerName::AdamW,
            lr: 1e-3,
            betas: (0.9, 0.95),
            eps: 1e-8,
            weight_decay: 0.1,
            grad_clip: 1.0,
            momentum: 0.95,
            nesterov: true,
            ns_steps: 5,
            adjust_lr_fn: AdjustLrFn::default(),
        }
    }
}

impl OptimizerConfig {
    pub(super) fn validate(&self) -> Result<(), TrainError> {
        let rates = [
            ("optimizer.betas", self.betas.0),
            ("optimizer.betas", self.betas.1),
            ("optimizer.momentum", self.momentum),
        ];
        if let Some((key, rate)) = rates.into_iter().find(|(_, rate)| !(0.0..1.0).contains(rate)) {
            return Err(TrainError::config(key, rate, "must be at least 0 and below 1"));
        }
        if !(1..100).contains(&self.ns_steps) {
            return Err(TrainError::config("optimizer.ns_steps", self.ns_steps, "must be from 1 to 99"));
        }
        at_least_0("optimizer.lr", self.lr)?;
        at_least_0("optimizer.eps", self.eps)?;
        at_least_0("optimizer.weight_decay", self.weight_decay)?;
        at_least_0("optimizer.grad_clip", self.grad_clip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named() {
        let config = OptimizerConfig::default();
        config.validate().unwrap();
        for (wrong, part) in [
            (OptimizerConfig { betas: (0.9, 1.0), ..config }, "optimizer.betas = 1"),
            (OptimizerConfig { momentum: 1.0, ..config }, "optimizer.momentum = 1: must be at least 0 and below 1"),
            (OptimizerConfig { ns_steps: 100, ..config }, "optimizer.ns_steps = 100: must be from 1 to 99"),
            (OptimizerConfig { lr: f64::NAN, ..config }, "optimizer.lr = NaN"),
        ] {
            let message = wrong.validate().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
