//! What the example programs share: the models that every comparison needs, how errors are shown, the shape of
//! a measured step, and how kernels are measured.

mod five_rows;
mod kernels;
mod report;
mod step_shape;

pub use five_rows::{Row, five_rows, named_row};
pub use kernels::{Kernel, time_kernels};
pub use report::report;
pub use step_shape::StepShape;
