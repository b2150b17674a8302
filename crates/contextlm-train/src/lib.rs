//! Training loops for [ContextLM](https://arxiv.org/abs/2510.20280).
//!
//! - [`Trainer`]: AdamW with decay groups, global-norm clipping, warm-up and cosine, step by step or for a whole run.
//! - [`evaluate`], [`evaluate_with_swapped_contexts`]: validation loss, and how much a model relies on its contexts.
//! - [`Progress`], [`Metrics`], [`plot`]: a bar, JSON lines, and loss curves as SVG.
//!
//! ```no_run
//! # use contextlm_core::{ContextLmConfig, Device};
//! # use contextlm_data::{Batches, EvalBatches};
//! # use contextlm_train::{Metrics, Progress, TrainConfig, Trainer};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (device, batches, valid): (Device, Batches, EvalBatches) = todo!();
//! let model = ContextLmConfig::preset("gpt2")?.with_default_context().init(&device.autodiff())?;
//! let config = TrainConfig { steps: 1000, ..TrainConfig::default() };
//! let mut trainer = Trainer::new(model, config)?;
//! let run = trainer.run(&batches, Some(&valid), &mut Metrics::create("metrics.jsonl")?, &Progress::bar())?;
//! println!("{:?}", run.valid.last());
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod clip;
mod config;
mod decay;
mod error;
mod evaluate;
mod metrics;
pub mod plot;
mod progress;
mod schedule;
mod tensors;
mod trainer;

pub use clip::clip_grad_norm;
pub use config::TrainConfig;
pub use decay::{DecayGroups, decay_groups};
pub use error::TrainError;
pub use evaluate::{Evaluation, evaluate, evaluate_with_swapped_contexts};
pub use metrics::Metrics;
pub use progress::Progress;
pub use tensors::{BatchTensors, batch_tensors};
pub use trainer::{Run, StepMetrics, Trainer};
