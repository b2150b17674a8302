//! Benchmarks of [ContextLM](https://arxiv.org/abs/2510.20280): training steps, prefill, decode, loading and tokenising,
//! of ContextLM beside the plain backbone and one of equal parameters, and beside a peer such as PyTorch.
//!
//! Every side is a process of its own ([`Side`]) that answers one line of JSON ([`Request`]) with one ([`Answer`]), so that
//! its memory is its own, and a peer is any program that answers the same lines. [`Bench`] lets them take turns; times are
//! medians and ratios are medians of the rounds' ratios, so that a slow minute of the machine hits all sides.

mod bench;
mod error;
mod generation;
mod line;
mod loading;
mod memory;
mod models;
mod reading;
mod request;
mod rounds;
mod side;
mod sizes;
mod table;
mod texts;
mod tokenising;
mod training;
mod worker;

pub use bench::{Bench, Group, Programs};
pub use error::BenchError;
pub use line::Line;
pub use memory::{PeakMemory, anonymous_bytes};
pub use models::{Model, expected_over_plain, models, with_settings};
pub use request::{Answer, Request, Sample, Work};
pub use side::Side;
pub use sizes::{Size, sizes};
pub use table::{size_table, table};
pub use worker::answer_requests;
