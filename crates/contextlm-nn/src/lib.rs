//! Transformer parts for ContextLM.
//!
//! One [`Block`] with a [`BlockConfig`] covers the three families that the backbones come from (GPT-2,
//! GPT-NeoX, Llama): norm kind, rotary share, serial or parallel residual, MLP kind, key-value heads and
//! biases are settings. The predictor of the next context is built from the same blocks.
//!
//! Shape letters: B batch, T entries of a sequence, S entries that are attended to (cached ones included),
//! D width, H heads, G key-value heads, F width inside the MLP, `Dh` width of a head.

mod attention;
mod block;
mod cache;
mod documents;
mod error;
mod init;
mod linear;
mod mlp;
mod norm;
mod positions;
mod precision;
mod rotary;

pub use attention::{Attention, AttentionConfig, QkvLayout, QueryKeyValue, SeparateQkv};
pub use block::{Block, BlockConfig, Residual};
pub use cache::{DecodingCache, KvCache};
pub use documents::Documents;
pub use error::NnError;
pub use init::Init;
pub use linear::linear;
pub use mlp::{Mlp, MlpConfig, MlpKind};
pub use norm::{Norm, NormConfig, NormKind};
pub use positions::Positions;
pub use precision::{apply, cast, in_f32, keeps_bits, product};
pub use rotary::{Rotary, RotaryConfig, RotaryScaling};
