//! Tasks: what is asked, from which data, and how it is counted.

mod builtin;
mod config;
mod data;
mod hub;
mod place;
mod process;
mod prompt;
mod question;
mod wikitext;

pub use builtin::builtin;
pub use config::{Shape, Task};
pub use data::TaskData;
pub use hub::HubData;
pub use place::{Located, Origin, Place};
pub use process::Process;
pub use question::{Asked, Choice, Question};
