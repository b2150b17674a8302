//! What the example programs share: the models that every comparison needs, how errors are shown, and how memory is measured.

mod five_rows;
mod memory;
mod report;

pub use five_rows::{Row, five_rows, named_row};
pub use memory::{PeakMemory, anonymous_bytes};
pub use report::report;
