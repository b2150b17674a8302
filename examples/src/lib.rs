//! What the example programs share: the models that every comparison needs.

mod five_rows;

pub use five_rows::{Row, five_rows, named_row};
