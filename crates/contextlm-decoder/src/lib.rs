//! The token decoder of ContextLM in Figure 2 of the paper (arXiv 2510.20280): every token state meets the context
//! that was predicted for it, then the remaining blocks of the backbone run.
//!
//! - [`Fusion`]: how a token state and its context become one state.
//! - [`Interleave`]: the fusion that adds entries to the sequence instead.
//! - [`TokenDecoder`]: fusion and the rest of the blocks.

mod fusion;
mod interleave;
mod token_decoder;

pub use fusion::{Fusion, FusionConfig, FusionKind, ZeroContexts};
pub use interleave::Interleave;
pub use token_decoder::{DecoderInputs, TokenDecoder};
