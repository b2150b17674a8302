//! Tasks: what is asked, from which data, and how it is counted.

mod builtin;
mod config;
mod data;
mod prompt;
mod question;
mod wikitext;

pub use builtin::builtin;
pub use config::{Shape, Task};
pub use data::TaskData;
pub use question::{Asked, Choice, Question};
