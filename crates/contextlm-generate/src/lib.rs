//! Text from [ContextLM](https://arxiv.org/abs/2510.20280): decoding with caches that never recompute anything.
//!
//! - [`DecoderState`]: the caches. Tokens go in, in pieces of any length; logits come out, those of the full forward
//!   pass.
//! - [`Sampling`], [`Sampler`]: from logits to the next token.
//! - [`generate`], [`Generator`], [`TextStream`]: from prompts to tokens and text.
//! - [`CacheBytes`]: what the caches take.
//!
//! ```
//! use contextlm_core::ContextLmConfig;
//! use contextlm_generate::{GenerateOptions, TextStream};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = contextlm_device::device("cpu")?;
//! let model = ContextLmConfig::preset("pythia-14m")?.with_default_context().init(&device)?;
//! let decode = |tokens: &[u32]| Ok(format!("{tokens:?}")); // a tokenizer's
//!
//! let options = GenerateOptions { max_new_tokens: 3, ..GenerateOptions::default() };
//! let mut stream = TextStream::new(&model, &[12092, 13], options, decode, &device)?;
//! for piece in &mut stream {
//!     print!("{}", piece?);
//! }
//! assert_eq!(stream.tokens().len(), 3);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod beyond;
mod caches;
mod cancel;
mod context_state;
mod error;
mod generator;
mod memory;
mod options;
mod pick;
mod sampler;
mod sampling;
mod state;
mod stop;
mod stream;
mod text;
mod timing;
mod token_table;

pub use beyond::Beyond;
pub use cancel::Cancel;
pub use error::GenerateError;
pub use generator::{Generated, Generator, MAX_ROWS, generate};
pub use memory::CacheBytes;
pub use options::{Finish, GenerateOptions};
pub use sampler::Sampler;
pub use sampling::Sampling;
pub use state::DecoderState;
pub use stream::TextStream;
pub use text::Decode;
pub use timing::Timing;
pub use token_table::token_table;
