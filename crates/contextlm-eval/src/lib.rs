//! Evaluation of [ContextLM](https://arxiv.org/abs/2510.20280) models and their plain backbones.
//!
//! - [`perplexity()`]: of a text or of token shards, in disjoint or strided windows.
//! - [`task`], [`evaluate()`]: tasks as lm-evaluation-harness asks and counts them; [`results`] in its schema.
//! - [`compare()`]: whether a model is better than another, by the differences of every single example.
//! - [`context`]: what predicted contexts know, and how much a model relies on them; [`length`]: perplexity by length.
//! - [`score`]: log-probabilities of given tokens, which all of these are made of.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod bootstrap;
mod cache;
mod charts;
mod compare;
pub mod context;
mod encode;
mod error;
mod estimate;
mod evaluate;
pub mod length;
mod metric;
mod nll;
mod perplexity;
mod python;
pub mod results;
pub mod score;
mod table;
pub mod task;
mod windows;

pub use answers::{Answer, Answers};
pub use cache::Cache;
pub use compare::{Difference, compare, comparison_json};
pub use encode::Encoder;
pub use error::EvalError;
pub use estimate::Estimate;
pub use evaluate::{EvaluateOptions, evaluate};
pub use metric::{Item, Metric};
pub use perplexity::{EvalCorpus, Perplexity, PerplexityOptions, perplexity};
pub use table::{comparison_table, results_table};
pub use windows::{TextUnit, Windows};
