//! What fast bodies on flex share.
//!
//! They are loops over slices, written so that the compiler vectorises them, and are the same bit by bit with any number
//! of threads: what is added up is added up in an order that depends on the shapes only.

pub(crate) mod heads;
pub(crate) mod math;
pub(crate) mod parallel;
pub(crate) mod product;
pub(crate) mod tensor;
pub(crate) use crate::vectorised;
