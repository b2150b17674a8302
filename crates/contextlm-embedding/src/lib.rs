//! Chunks and context embeddings of ContextLM: what stands between the token encoder and the next-context
//! predictor in Figure 2 of the paper (arXiv 2510.20280).
//!
//! - [`ChunkGrid`]: where chunks lie in a sequence, per document in a packed batch.
//! - [`Pooling`]: the states of a chunk become its context embedding.
//! - [`ContextEmbedding`]: both, and the initial context.
//! - [`position_rule`]: which predicted context guides which position.
//!
//! Shape letters: B batch, T tokens, w chunk size, K chunks, D width.

mod chunk;
mod context_embedding;
mod pool;
pub mod position_rule;

pub use chunk::ChunkGrid;
pub use context_embedding::{ContextEmbedding, ContextEmbeddingConfig, InitialContext};
pub use pool::{Pool, Pooling};
