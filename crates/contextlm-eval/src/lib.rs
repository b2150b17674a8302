//! Evaluation of [ContextLM](https://arxiv.org/abs/2510.20280) models and their plain backbones.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
pub mod score;

pub use error::EvalError;
