//! What the example programs share: the models that every comparison needs, and how errors are shown.

mod five_rows;
mod report;

pub use five_rows::{Row, five_rows, named_row};
pub use report::report;
