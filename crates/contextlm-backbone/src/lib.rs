//! The [`Backbone`] adapter trait of ContextLM, and the adapters that come with it.
//!
//! An adapter is a token embedding, a stack of blocks, a final norm and a head. ContextLM runs the first blocks
//! as its token encoder and the others as its token decoder (Figure 2 of the paper), so a backbone only has to
//! be able to run a range of its blocks. [`Gpt2`], [`GptNeoX`] (Pythia) and [`Llama`] (Llama, Mistral, Qwen2) are
//! here, each in one file with its Hugging Face config.
//!
//! Shape letters: B batch, T entries, D width, V vocabulary.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod backbone;
mod error;
mod gpt2;
mod gpt_neox;
mod llama;
mod names;
mod rope_scaling;
mod spec;

pub use backbone::Backbone;
pub use contextlm_nn::{Block, BlockConfig, DecodingCache, Init, KvCache, Positions};
pub use error::{BackboneError, MAX_LAYERS};
pub use gpt_neox::{GptNeoX, GptNeoXConfig, RopeParameters};
pub use gpt2::{Gpt2, Gpt2Config};
pub use llama::{Llama, LlamaConfig, LlamaKind};
pub use names::{TensorLayout, TensorName, TensorNames};
pub use rope_scaling::RopeScaling;
pub use spec::{BackboneFlops, BackboneSpec};
