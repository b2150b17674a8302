//! What fast bodies for the CPU share, on flex and on LibTorch.
//!
//! They are loops over slices, written so that the compiler vectorises them, and are the same bit by bit with any number
//! of threads: what is added up is added up in an order that depends on the shapes only.

pub(crate) mod math;
pub(crate) mod parallel;
pub(crate) mod vectorised;
