//! Training loops for [ContextLM](https://arxiv.org/abs/2510.20280).
//!
//! - [`Trainer`]: AdamW or Muon with decay groups, global-norm clipping, schedules, frozen parts and a guard against bad
//!   steps, step by step or for a whole run.
//! - [`RunConfig`], [`run()`](fn@run): a whole run from a TOML file, in a directory of its own.
//! - [`Checkpoint`]: what a run needs to go on as if it had not stopped, bit by bit on the CPU. On GPUs sums may be in any
//!   order, as those of flash attention on LibTorch are.
//! - [`evaluate`], [`evaluate_with_swapped_contexts`]: validation loss, and how much a model relies on its contexts.
//! - [`Progress`], [`Metrics`]: a bar or lines on stderr, JSON lines; TensorBoard's event files with the feature
//!   `tensorboard`.
//! - [`RunRecord`], [`write_report`], [`compare`](mod@compare), [`plot`]: runs read back, as a page, beside each other with
//!   confidence intervals, and as SVG.
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

mod adamw;
mod as_read;
mod chart;
mod checkpoint;
mod clip;
pub mod compare;
mod config;
mod error;
mod evaluate;
mod freeze;
mod memory;
mod metrics;
mod muon;
mod optimizer;
mod page;
mod peak;
pub mod plot;
mod progress;
mod random;
mod record;
mod report;
mod run;
#[cfg(feature = "tensorboard")]
mod tensorboard;
mod tensors;
mod trainer;
mod versions;

pub use checkpoint::{Checkpoint, CheckpointFolder, Damaged};
pub use clip::clip_grad_norm;
pub use config::{
    AdjustLrFn, GuardConfig, LossConfig, OptimizerConfig, OptimizerName, ScheduleConfig, ScheduleName, TrainConfig,
    TrainDtype,
};
pub use error::TrainError;
pub use evaluate::{Evaluation, evaluate, evaluate_with_swapped_contexts};
pub use memory::MemoryEstimate;
pub use metrics::Metrics;
pub use optimizer::{DecayGroups, decay_groups};
pub use peak::peak_flops;
pub use progress::Progress;
pub use record::{
    About, History, RunParameters, RunRecord, RunSession, StepLine, TrainingSet, ValidLine, ValidationSet,
};
pub use report::write_report;
pub use run::{
    CheckpointTable, DataTable, EvalTable, LogTable, ModelTable, RunConfig, RunOptions, RunStart, RunSummary,
    TrainTable, run,
};
pub use tensors::{BatchTensors, batch_tensors};
pub use trainer::{Run, StepMetrics, TrainProgress, Trainer};
pub use versions::Versions;
