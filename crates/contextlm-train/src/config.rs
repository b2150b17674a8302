//! Settings of a training run, in PyTorch's words.

mod loss;
mod optimizer;
mod schedule;

use contextlm_core::FloatDType;
use serde::{Deserialize, Serialize};

pub use loss::LossConfig;
pub use optimizer::{AdjustLrFn, OptimizerConfig, OptimizerName};
pub use schedule::{ScheduleConfig, ScheduleName};

use crate::TrainError;

/// Settings of a [`Trainer`](crate::Trainer).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimizer steps.
    pub steps: usize,
    /// Rows of a batch that go through the model at once; the whole batch if not given. The result is that of the whole
    /// batch, with less memory.
    pub micro_batch: Option<usize>,
    /// Validate after every so many steps, and after the last; 0 validates after the last only.
    pub eval_every: usize,
    /// Seed of dropout. The numbers of a micro-batch follow from this, the step and its place in the batch alone.
    pub seed: u64,
    /// Patterns (regular expressions that match a whole name in a model file, as `transformer\\..*`) of parameters that
    /// stay as they are.
    pub freeze: Vec<String>,
    /// What to do with a step whose loss is out of line.
    pub guard: GuardConfig,
    /// Type of the matrix products.
    pub dtype: TrainDtype,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The learning rate over the steps.
    pub schedule: ScheduleConfig,
    /// What is added to the cross-entropy.
    pub loss: LossConfig,
}

/// Type of the matrix products in training. Parameters, their gradients and the optimizer's state are always f32, and so are
/// norms, softmax and the loss, see [`ContextLm::cast`](contextlm_core::ContextLm::cast).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainDtype {
    /// 32 bits.
    #[default]
    F32,
    /// The upper half of f32's bits: mixed precision.
    Bf16,
}

impl TrainDtype {
    /// The type that is not the parameters' own.
    pub(crate) fn low(self) -> Option<FloatDType> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(FloatDType::BF16),
        }
    }
}

/// Which steps are skipped: their batch has passed, and the parameters stay as they were.
///
/// A step is skipped when its loss or gradient norm is not finite, and when its loss spikes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardConfig {
    /// Nats by which a loss may be above the smoothed loss; 0 allows any.
    pub max_spike: f64,
    /// Skipped steps in a row after which the run stops.
    pub max_skipped: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 1000,
            micro_batch: None,
            eval_every: 0,
            seed: 0,
            freeze: Vec::new(),
            guard: GuardConfig::default(),
            dtype: TrainDtype::default(),
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::default(),
            loss: LossConfig::default(),
        }
    }
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self { max_spike: 0.0, max_skipped: 10 }
    }
}

impl TrainConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming key, value and fix.
    pub fn validate(&self) -> Result<(), TrainError> {
        if self.steps == 0 {
            return Err(TrainError::config("steps", 0, "must be at least 1"));
        }
        if self.micro_batch == Some(0) {
            return Err(TrainError::config("micro_batch", 0, "must be at least 1"));
        }
        at_least_0("guard.max_spike", self.guard.max_spike)?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        self.loss.validate()
    }
}

fn at_least_0(key: &'static str, value: f64) -> Result<(), TrainError> {
    let fits = value.is_finite() && value >= 0.0;
    if fits { Ok(()) } else { Err(TrainError::config(key, value, "must be 0 or above")) }
}

/// From 0 to 1, both included.
fn share(key: &'static str, value: f64) -> Result<(), TrainError> {
    let fits = (0.0..=1.0).contains(&value);
    if fits { Ok(()) } else { Err(TrainError::config(key, value, "must be from 0 to 1")) }
}
