//! ContextLM (arXiv 2510.20280): a causal language model that predicts the *next chunk's* context embedding and
//! lets it guide the next tokens, while it stays an ordinary token-by-token model.
//!
//! ```
//! use contextlm_core::{ContextConfig, ContextLmConfig, Int, Tensor};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = contextlm_device::device("cpu")?;
//! let config = ContextLmConfig::preset("pythia-14m")?.with_default_context();
//! let model = config.init(&device)?;
//!
//! let tokens = Tensor::<2, Int>::from_ints([[12092, 13, 1533, 2, 733, 434, 1384, 1731]], &device);
//! let logits = model.forward(tokens.clone()); // [1, 8, 50304]
//! let contexts = model.predicted_contexts(tokens); // [1, 5, 128]: the initial one and a prediction a chunk
//! # assert_eq!((logits.dims(), contexts.map(|c| c.dims())), ([1, 8, 50304], Some([1, 5, 128])));
//! # Ok(())
//! # }
//! ```
//!
//! | Figure 2 | here |
//! |---|---|
//! | token encoder | [`Backbone::embed`] and the first `encoder_layers` of [`Backbone::blocks`] |
//! | context embedding | [`ContextEmbedding`], [`Pooling`] |
//! | context predictor | [`ContextPredictor`] |
//! | predicted contexts, shifted by one chunk | [`ContextEmbedding::shift`], [`position_rule`] |
//! | token decoder | [`TokenDecoder`] with its [`Fusion`] |
//! | LM head | [`Backbone::norm`], [`Backbone::head`] |

mod any_backbone;
mod config;
mod context_config;
mod counts;
mod error;
pub mod files;
mod int8;
mod latent;
mod limit;
mod model;
mod precision;
mod retrofit;
mod tensors;

pub use any_backbone::{AnyBackbone, BackboneConfig};
pub use burn::module::Module;
pub use burn::tensor::{Device, FloatDType, Int, Tensor};
pub use config::ContextLmConfig;
pub use context_config::{ContextConfig, InitialContextKind, PredictorPositions, Source};
pub use contextlm_backbone::{
    Backbone, BackboneError, BackboneSpec, Block, BlockConfig, Gpt2Config, GptNeoXConfig, Init, LlamaConfig, LlamaKind,
    Positions, RopeScaling, TensorLayout, TensorName, TensorNames,
};
pub use contextlm_backbone::{DecodingCache, KvCache};
pub use contextlm_decoder::{DecoderInputs, Fusion, FusionKind, TokenDecoder, ZeroContexts};
pub use contextlm_embedding::{ChunkGrid, ContextEmbedding, Pooling, position_rule};
pub use contextlm_kernels::{IGNORE_INDEX, linear, linear_int8};
pub use contextlm_nn::Documents;
pub use contextlm_predictor::ContextPredictor;
pub use counts::{FlopsPerToken, Parameters};
pub use error::ContextLmError;
pub use latent::LatentLoss;
pub use model::{ContextLm, ContextPath, Loss, LossOptions};
pub use tensors::{ModelTensor, ModulePath};
