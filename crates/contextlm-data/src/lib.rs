//! Text files to documents, documents to tokens, tokens to batches of plain integers for [ContextLM](https://arxiv.org/abs/2510.20280).
//!
//! ```no_run
//! use contextlm_data::{Batches, Corpus, ReadOptions, Tokenizer, read_documents};
//! # fn main() -> Result<(), contextlm_data::DataError> {
//! let tokenizer = Tokenizer::from_file("tokenizer.json")?;
//! let documents = read_documents(&["books".into()], &ReadOptions::default())?;
//! let corpus = Corpus::encode(documents, &tokenizer, |counts| eprintln!("{} tokens", counts.tokens))?;
//! let batches = Batches::new(corpus.tokens, 256, 8, 0)?;
//! let first = batches.batch(0)?;
//! assert_eq!(first.inputs.len(), 8 * 256);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batch;
mod batches;
mod corpus;
mod document;
mod documents;
mod error;
mod eval_batches;
mod files;
mod format;
mod guard;
mod json_lines;
mod json_text;
mod limit;
mod lines;
#[cfg(feature = "parquet")]
mod parquet_file;
mod parts;
mod pieces;
mod prefetch;
mod prepare;
mod records;
mod rust_sources;
mod shard;
mod shard_set;
mod shuffle;
mod split;
mod tokenizer;
mod tokens;
mod train_tokenizer;
mod word_cache;
mod word_rules;
mod words;

pub use batch::{Batch, IGNORE_INDEX};
pub use batches::Batches;
pub use corpus::{Corpus, Counts};
pub use document::Document;
pub use documents::{Documents, ReadOptions, read_documents, read_text};
pub use error::DataError;
pub use eval_batches::EvalBatches;
pub use files::find_files;
pub use json_lines::{JsonLines, read_json_lines};
pub use limit::limit_bytes;
pub use prefetch::Prefetch;
pub use prepare::{PrepareOptions, Prepared, prepare};
pub use records::{Records, read_records};
pub use rust_sources::{default_cargo_home, rust_sources};
pub use shard_set::{ShardInfo, ShardSet, ShardsInfo};
pub use split::{Held, train_documents, valid_documents};
pub use tokenizer::Tokenizer;
pub use tokens::Tokens;
