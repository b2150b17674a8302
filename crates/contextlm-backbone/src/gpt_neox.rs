//! GPT-NeoX (arXiv 2204.06745) as Pythia (arXiv 2304.01373) uses it, with the config of Hugging Face's
//! `GPTNeoXForCausalLM`.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Device, Int, Tensor};
use contextlm_nn::{
    AttentionConfig, Block, BlockConfig, Init, KvCache, MlpConfig, MlpKind, Norm, NormConfig, NormKind, Positions,
    QkvLayout, Residual, RotaryConfig,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::gpt2::{flops, rows_of, run_blocks};
use crate::{Backbone, BackboneError, BackboneFlops, BackboneSpec, TensorLayout, TensorNames};

/// Names of `GPTNeoXForCausalLM`'s tensors.
pub(crate) const NAMES: TensorNames = TensorNames {
    prefix: "gpt_neox.",
    prefix_is_optional: false,
    outside: &[
        ("embed_in", "embed_in.weight"),
        ("final_layer_norm.weight", "final_layer_norm.weight"),
        ("final_layer_norm.bias", "final_layer_norm.bias"),
    ],
    blocks: "layers",
    norms: &[("norm_1", "input_layernorm"), ("norm_2", "post_attention_layernorm")],
    linears: &[
        ("attention.qkv", "attention.query_key_value"),
        ("attention.output", "attention.dense"),
        ("mlp.up", "mlp.dense_h_to_4h"),
        ("mlp.down", "mlp.dense_4h_to_h"),
    ],
    linear_layout: TensorLayout::Transposed,
    head: "embed_out",
    head_names: &["embed_out.weight", "lm_head.weight"],
    tied_to: "embed_in",
};

/// Hugging Face's `GPTNeoXConfig`; keys that are not used here are kept as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GptNeoXConfig {
    /// Vocabulary, V.
    pub vocab_size: usize,
    /// Width, D.
    pub hidden_size: usize,
    /// Blocks, L.
    pub num_hidden_layers: usize,
    /// Heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// `gelu`, `gelu_new` or `gelu_pytorch_tanh`.
    pub hidden_act: String,
    /// Share of each head that is rotated (transformers 4; version 5 has `rope_parameters`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotary_pct: Option<f64>,
    /// Base of the rotary frequencies (transformers 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotary_emb_base: Option<f64>,
    /// Rotary settings of transformers 5: `partial_rotary_factor`, `rope_theta`, `rope_type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<RopeParameters>,
    /// Trained length.
    pub max_position_embeddings: usize,
    /// Standard deviation of initial weights.
    pub initializer_range: f64,
    /// Epsilon of the norms.
    pub layer_norm_eps: f64,
    /// Whether attention and MLP read the same state.
    pub use_parallel_residual: bool,
    /// Whether attention's maps have biases.
    pub attention_bias: bool,
    /// Dropout of attention probabilities.
    pub attention_dropout: f64,
    /// Dropout of the embedding and of what attention and MLP add.
    pub hidden_dropout: f64,
    /// Whether the head is the token embedding.
    pub tie_word_embeddings: bool,
    /// Everything else in the file.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Rotary settings in the spelling of transformers 5.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RopeParameters {
    /// Share of each head that is rotated; 0.25 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial_rotary_factor: Option<f64>,
    /// Base of the frequencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// Only `default` is supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_type: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for GptNeoXConfig {
    /// Hugging Face's defaults (the 20 B model).
    fn default() -> Self {
        Self {
            vocab_size: 50432,
            hidden_size: 6144,
            num_hidden_layers: 44,
            num_attention_heads: 64,
            intermediate_size: 24576,
            hidden_act: "gelu".into(),
            rotary_pct: None,
            rotary_emb_base: None,
            rope_parameters: None,
            max_position_embeddings: 2048,
            initializer_range: 0.02,
            layer_norm_eps: 1e-5,
            use_parallel_residual: true,
            attention_bias: true,
            attention_dropout: 0.0,
            hidden_dropout: 0.0,
            tie_word_embeddings: false,
            other: Map::new(),
        }
    }
}

impl GptNeoXConfig {
    /// Names of the presets.
    pub const PRESETS: [&'static str; 7] =
        ["pythia-14m", "pythia-31m", "pythia-70m", "pythia-160m", "pythia-410m", "pythia-1b", "pythia-1.4b"];

    /// A published Pythia size by its name.
    pub fn preset(name: &str) -> Option<Self> {
        let (layers, width, heads) = match name {
            "pythia-14m" => (6, 128, 4),
            "pythia-31m" => (6, 256, 8),
            "pythia-70m" => (6, 512, 8),
            "pythia-160m" => (12, 768, 12),
            "pythia-410m" => (24, 1024, 16),
            "pythia-1b" => (16, 2048, 8),
            "pythia-1.4b" => (24, 2048, 16),
            _ => return None,
        };
        Some(Self {
            vocab_size: 50304,
            hidden_size: width,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            intermediate_size: 4 * width,
            rotary_pct: Some(0.25),
            rotary_emb_base: Some(10_000.0),
            ..Self::default()
        })
    }

    /// The block that follows from this config.
    ///
    /// # Errors
    /// [`BackboneError`] naming the key that cannot be run.
    pub fn block(&self) -> Result<BlockConfig, BackboneError> {
        BackboneError::positive("hidden_size", self.hidden_size)?;
        BackboneError::positive("num_attention_heads", self.num_attention_heads)?;
        BackboneError::positive("intermediate_size", self.intermediate_size)?;
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let fix = format!("must divide hidden_size = {}", self.hidden_size);
            return Err(BackboneError::config("num_attention_heads", self.num_attention_heads, fix));
        }
        let kind = match self.hidden_act.as_str() {
            "gelu" => MlpKind::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" => MlpKind::GeluTanh,
            other => return Err(BackboneError::config("hidden_act", other, "use gelu or gelu_new")),
        };
        let (width, head_dim) = (self.hidden_size, self.hidden_size / self.num_attention_heads);
        let block = BlockConfig {
            attention: AttentionConfig {
                width,
                heads: self.num_attention_heads,
                kv_heads: self.num_attention_heads,
                head_dim,
                layout: QkvLayout::PerHead,
                qkv_bias: self.attention_bias,
                output_bias: self.attention_bias,
                dropout: self.attention_dropout,
            },
            mlp: MlpConfig { width, inner: self.intermediate_size, kind, bias: true },
            norm: self.norm(),
            rotary: self.rotary(head_dim)?,
            residual: if self.use_parallel_residual { Residual::Parallel } else { Residual::Serial },
            dropout: self.hidden_dropout,
            initializer_range: self.initializer_range,
            scale_residual_init: false,
        };
        block.validate()?;
        Ok(block)
    }

    /// Checks the config without building anything.
    ///
    /// # Errors
    /// As [`block`](Self::block), and for sizes of 0.
    pub fn validate(&self) -> Result<(), BackboneError> {
        BackboneError::positive("vocab_size", self.vocab_size)?;
        BackboneError::layers("num_hidden_layers", self.num_hidden_layers)?;
        BackboneError::positive("max_position_embeddings", self.max_position_embeddings)?;
        self.block().map(|_| ())
    }

    /// A model with fresh weights: normal(0, `initializer_range`), biases 0, as Hugging Face initialises it.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn init(&self, init: &Init, device: &Device) -> Result<GptNeoX, BackboneError> {
        self.validate()?;
        let block = self.block()?;
        let (shape, std, layers) =
            ([self.vocab_size, self.hidden_size], self.initializer_range, self.num_hidden_layers);
        Ok(GptNeoX {
            embed_in: init.normal("embed_in", shape, std, device),
            dropout: DropoutConfig::new(self.hidden_dropout).init(),
            layers: (0..layers).map(|i| block.init(&init.at(format!("layers.{i}")), layers, device)).collect(),
            final_layer_norm: self.norm().init(&init.at("final_layer_norm"), self.hidden_size, device),
            embed_out: (!self.tie_word_embeddings).then(|| init.normal("embed_out", shape, std, device)),
            max_positions: self.max_position_embeddings,
            block,
        })
    }

    fn norm(&self) -> NormConfig {
        NormConfig { kind: NormKind::Layer, eps: self.layer_norm_eps }
    }

    fn rotary(&self, head_dim: usize) -> Result<Option<RotaryConfig>, BackboneError> {
        let new = self.rope_parameters.as_ref();
        if let Some(kind) = new.and_then(|new| new.rope_type.as_deref()).filter(|&kind| kind != "default") {
            return Err(BackboneError::config("rope_parameters.rope_type", kind, "only default is supported"));
        }
        if self.other.get("rope_scaling").is_some_and(|scaling| !scaling.is_null()) {
            return Err(BackboneError::config("rope_scaling", "set", "only null is supported"));
        }
        let share = new.and_then(|new| new.partial_rotary_factor).or(self.rotary_pct).unwrap_or(0.25);
        let theta = new.and_then(|new| new.rope_theta).or(self.rotary_emb_base).unwrap_or(10_000.0);
        if !(0.0..=1.0).contains(&share) {
            return Err(BackboneError::config("rotary_pct", share, "must be from 0 to 1"));
        }
        let dimensions = (head_dim as f64 * share) as usize;
        Ok((dimensions > 0).then_some(RotaryConfig { dimensions, theta, scaling: None }))
    }
}

/// GPT-NeoX: rotary positions on a share of each head, parallel residual, usually an untied head.
#[derive(Module, Debug)]
pub struct GptNeoX {
    /// Token embedding, [V, D].
    pub embed_in: Param<Tensor<2>>,
    dropout: Dropout,
    /// The blocks.
    pub layers: Vec<Block>,
    /// Final norm.
    pub final_layer_norm: Norm,
    /// LM head [V, D] where it is not tied to `embed_in`.
    pub embed_out: Option<Param<Tensor<2>>>,
    #[module(skip)]
    max_positions: usize,
    #[module(skip)]
    block: BlockConfig,
}

impl Backbone for GptNeoX {
    type Cache = KvCache;

    fn spec(&self) -> BackboneSpec {
        let [vocabulary, width] = self.embed_in.lazy_shape().dims();
        BackboneSpec {
            width,
            layers: self.layers.len(),
            vocabulary,
            max_positions: self.max_positions,
            predictor_block: self.block.clone(),
        }
    }

    fn embed(&self, tokens: Tensor<2, Int>, _at: &Positions) -> Tensor<3> {
        self.dropout.forward(rows_of(self.embed_in.val(), tokens))
    }

    fn blocks(&self, x: Tensor<3>, range: Range<usize>, at: &Positions, caches: Option<&mut [KvCache]>) -> Tensor<3> {
        run_blocks(&self.layers[range], x, at, caches)
    }

    fn norm(&self, x: Tensor<3>) -> Tensor<3> {
        self.final_layer_norm.forward(x)
    }

    fn head(&self) -> Tensor<2> {
        self.embed_out.as_ref().unwrap_or(&self.embed_in).val()
    }

    fn new_caches(&self, range: Range<usize>, rows: usize, capacity: usize, device: &Device) -> Option<Vec<KvCache>> {
        Some(self.layers[range].iter().map(|block| block.cache(rows, capacity, device)).collect())
    }

    fn flops(&self, attended: usize) -> Option<BackboneFlops> {
        Some(flops(&self.block, attended, self.embed_in.lazy_shape().num_elements()))
    }

    fn own_blocks(&self) -> Option<&[Block]> {
        Some(&self.layers)
    }

    fn tensor_names(&self) -> Option<&'static TensorNames> {
        Some(&NAMES)
    }
}
