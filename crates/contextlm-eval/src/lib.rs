//! Evaluation of [ContextLM](https://arxiv.org/abs/2510.20280) models and their plain backbones.
//!
//! - [`perplexity`]: of a text or of token shards, in disjoint or strided windows.
//! - [`task`], [`evaluate`]: tasks as lm-evaluation-harness asks and counts them; [`results`] in its schema.
//! - [`compare`]: whether a model is better than another, by the differences of every single example.
//! - [`score`]: log-probabilities of given tokens, which all of these are made of.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod bootstrap;
mod cache;
mod compare;
mod encode;
mod error;
mod evaluate;
mod metric;
mod perplexity;
mod python;
pub mod results;
pub mod score;
mod table;
pub mod task;

pub use answers::{Answer, Answers};
pub use cache::Cache;
pub use compare::{Difference, compare, comparison_json};
pub use encode::Encoder;
pub use error::EvalError;
pub use evaluate::{EvaluateOptions, evaluate};
pub use metric::{Item, Metric};
pub use perplexity::{EvalCorpus, Perplexity, PerplexityOptions, perplexity};
pub use table::{comparison_table, results_table};
