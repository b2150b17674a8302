//! Evaluation of [ContextLM](https://arxiv.org/abs/2510.20280) models and their plain backbones.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod charts;
pub mod context;
mod error;
mod estimate;
pub mod length;
mod nll;
pub mod score;
mod windows;

pub use error::EvalError;
pub use estimate::Estimate;
pub use windows::{TextUnit, Windows};
