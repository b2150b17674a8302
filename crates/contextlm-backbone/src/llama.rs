//! The Llama family (arXiv 2302.13971): Llama, Mistral and Qwen2 differ in a few keys of their Hugging Face configs only.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use contextlm_nn::{
    AttentionConfig, Block, BlockConfig, Init, KvCache, MlpConfig, MlpKind, Norm, NormConfig, NormKind, Positions,
    QkvLayout, Residual, RotaryConfig,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::gpt2::{flops, rows_of, run_blocks};
use crate::{Backbone, BackboneError, BackboneFlops, BackboneSpec, RopeScaling, TensorLayout, TensorNames};

/// Names of `LlamaForCausalLM`'s tensors; Mistral's and Qwen2's are the same.
pub(crate) const NAMES: TensorNames = TensorNames {
    prefix: "model.",
    prefix_is_optional: false,
    outside: &[("embed_tokens", "embed_tokens.weight"), ("norm.weight", "norm.weight")],
    blocks: "layers",
    norms: &[("norm_1", "input_layernorm"), ("norm_2", "post_attention_layernorm")],
    linears: &[
        ("attention.qkv.query", "self_attn.q_proj"),
        ("attention.qkv.key", "self_attn.k_proj"),
        ("attention.qkv.value", "self_attn.v_proj"),
        ("attention.output", "self_attn.o_proj"),
        ("mlp.gate", "mlp.gate_proj"),
        ("mlp.up", "mlp.up_proj"),
        ("mlp.down", "mlp.down_proj"),
    ],
    linear_layout: TensorLayout::Transposed,
    head: "lm_head",
    head_names: &["lm_head.weight"],
    tied_to: "embed_tokens",
};

/// Which of the family a config is; Hugging Face's `model_type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LlamaKind {
    /// Llama 1 to 3 and models with their config.
    #[default]
    Llama,
    /// Mistral. A sliding window that is shorter than the trained length is not supported.
    Mistral,
    /// Qwen2: biases on query, key and value.
    Qwen2,
}

/// Hugging Face's `LlamaConfig`, `MistralConfig` or `Qwen2Config`; keys that are not used here are kept as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LlamaConfig {
    /// Which of the family.
    pub model_type: LlamaKind,
    /// Vocabulary, V.
    pub vocab_size: usize,
    /// Width, D.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Blocks, L.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`, and is as many if null. Written as null too: where the key is
    /// missing, Mistral and Qwen2 have numbers of their own.
    pub num_key_value_heads: Option<usize>,
    /// Width of a head; `hidden_size / num_attention_heads` if not given.
    #[serde(skip_serializing_if = "Option::is_none")] // `transformers` takes null for a value
    pub head_dim: Option<usize>,
    /// Only `silu`.
    pub hidden_act: String,
    /// Trained length.
    pub max_position_embeddings: usize,
    /// Standard deviation of initial weights.
    pub initializer_range: f64,
    /// Epsilon of the norms.
    pub rms_norm_eps: f64,
    /// Whether the head is the token embedding.
    pub tie_word_embeddings: bool,
    /// Base of the rotary frequencies (transformers 4); 10,000 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// Scaling of the rotary frequencies (transformers 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
    /// Rotary settings of transformers 5, in place of the two above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<RopeScaling>,
    /// Llama: whether attention's four maps have biases. Mistral's have none; Qwen2's have all but the last.
    pub attention_bias: bool,
    /// Llama: whether the MLP's maps have biases.
    pub mlp_bias: bool,
    /// Dropout of attention probabilities.
    pub attention_dropout: f64,
    /// Everything else in the file.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for LlamaConfig {
    /// Hugging Face's defaults for `llama` (the 7 B model).
    fn default() -> Self {
        Self::of(LlamaKind::Llama)
    }
}

impl LlamaKind {
    /// Hugging Face's name of it.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
        }
    }
}

impl LlamaConfig {
    /// Hugging Face's defaults for one of the family.
    pub fn of(kind: LlamaKind) -> Self {
        let llama = Self {
            model_type: LlamaKind::Llama,
            vocab_size: 32000,
            hidden_size: 4096,
            intermediate_size: 11008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: None,
            head_dim: None,
            hidden_act: "silu".into(),
            max_position_embeddings: 2048,
            initializer_range: 0.02,
            rms_norm_eps: 1e-6,
            tie_word_embeddings: false,
            rope_theta: None,
            rope_scaling: None,
            rope_parameters: None,
            attention_bias: false,
            mlp_bias: false,
            attention_dropout: 0.0,
            other: Map::new(),
        };
        let (intermediate_size, kv_heads, max_position_embeddings) = match kind {
            LlamaKind::Llama => return llama,
            LlamaKind::Mistral => (14336, 8, 131072),
            LlamaKind::Qwen2 => (22016, 32, 32768),
        };
        let vocab_size = if kind == LlamaKind::Qwen2 { 151936 } else { llama.vocab_size };
        let num_key_value_heads = Some(kv_heads);
        let sizes = Self { vocab_size, intermediate_size, num_key_value_heads, max_position_embeddings, ..llama };
        Self { model_type: kind, ..sizes }
    }

    /// Reads a Hugging Face config. A missing key has the default of its `model_type`, `llama` where that is missing.
    ///
    /// # Errors
    /// serde's, for a value of the wrong kind.
    pub fn from_json(table: &Map<String, Value>) -> Result<Self, serde_json::Error> {
        let kind = table.get("model_type").map_or(Ok(LlamaKind::Llama), LlamaKind::deserialize)?;
        let mut all = serde_json::to_value(Self::of(kind))?;
        for (key, value) in table {
            all[key] = value.clone();
        }
        serde_json::from_value(all)
    }

    /// The block that follows from this config.
    ///
    /// # Errors
    /// [`BackboneError`] naming the key that cannot be run.
    pub fn block(&self) -> Result<BlockConfig, BackboneError> {
        BackboneError::positive("hidden_size", self.hidden_size)?;
        BackboneError::positive("num_attention_heads", self.num_attention_heads)?;
        BackboneError::positive("intermediate_size", self.intermediate_size)?;
        if self.hidden_act != "silu" {
            return Err(BackboneError::config("hidden_act", &self.hidden_act, "only silu is supported"));
        }
        self.no_sliding_window()?;
        let (width, heads, head_dim) = (self.hidden_size, self.num_attention_heads, self.head_dim()?);
        let (qkv_bias, output_bias, mlp_bias) = match self.model_type {
            LlamaKind::Llama => (self.attention_bias, self.attention_bias, self.mlp_bias),
            LlamaKind::Mistral => (false, false, false),
            LlamaKind::Qwen2 => (true, false, false),
        };
        let block = BlockConfig {
            attention: AttentionConfig {
                width,
                heads,
                kv_heads: self.num_key_value_heads.unwrap_or(heads),
                head_dim,
                layout: QkvLayout::Separate,
                qkv_bias,
                output_bias,
                dropout: self.attention_dropout,
            },
            mlp: MlpConfig { width, inner: self.intermediate_size, kind: MlpKind::SwiGlu, bias: mlp_bias },
            norm: self.norm(),
            rotary: Some(self.rotary(head_dim)?),
            residual: Residual::Serial,
            dropout: 0.0,
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
    pub fn init(&self, init: &Init, device: &Device) -> Result<Llama, BackboneError> {
        self.validate()?;
        let block = self.block()?;
        let (shape, std, layers) =
            ([self.vocab_size, self.hidden_size], self.initializer_range, self.num_hidden_layers);
        Ok(Llama {
            embed_tokens: init.normal("embed_tokens", shape, std, device),
            layers: (0..layers).map(|i| block.init(&init.at(format!("layers.{i}")), layers, device)).collect(),
            norm: self.norm().init(&init.at("norm"), self.hidden_size, device),
            lm_head: (!self.tie_word_embeddings).then(|| init.normal("lm_head", shape, std, device)),
            max_positions: self.max_position_embeddings,
            block,
        })
    }

    fn norm(&self) -> NormConfig {
        NormConfig { kind: NormKind::Rms, eps: self.rms_norm_eps }
    }

    fn head_dim(&self) -> Result<usize, BackboneError> {
        if let Some(head_dim) = self.head_dim {
            BackboneError::positive("head_dim", head_dim)?;
            // The width of all heads together; both factors are below 2^31.
            BackboneError::positive("num_attention_heads * head_dim", self.num_attention_heads * head_dim)?;
            return Ok(head_dim);
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let fix = format!("must divide hidden_size = {} where head_dim is not given", self.hidden_size);
            return Err(BackboneError::config("num_attention_heads", self.num_attention_heads, fix));
        }
        Ok(self.hidden_size / self.num_attention_heads)
    }

    /// A window that hides nothing within the trained length is as good as none.
    fn no_sliding_window(&self) -> Result<(), BackboneError> {
        let used = match self.model_type {
            LlamaKind::Llama => false,
            LlamaKind::Mistral => true,
            LlamaKind::Qwen2 => self.other.get("use_sliding_window") == Some(&Value::Bool(true)),
        };
        // Where the key is missing, Hugging Face's config has 4096.
        let window = self.other.get("sliding_window").cloned().unwrap_or_else(|| 4096.into());
        let hides = window.as_u64().is_none_or(|window| window < self.max_position_embeddings as u64);
        if used && !window.is_null() && hides {
            let fix = format!(
                "a window shorter than max_position_embeddings = {} is not supported; \
                 where the model is only used within the window, set both to the same",
                self.max_position_embeddings
            );
            return Err(BackboneError::config("sliding_window", window, fix));
        }
        Ok(())
    }

    fn rotary(&self, head_dim: usize) -> Result<RotaryConfig, BackboneError> {
        let new = self.rope_parameters.as_ref();
        let theta = new.and_then(|new| new.rope_theta).or(self.rope_theta).unwrap_or(10_000.0);
        let mut rotary = RotaryConfig { dimensions: head_dim, theta, scaling: None };
        let Some(settings) = new.or(self.rope_scaling.as_ref()) else { return Ok(rotary) };
        if let Some(share) = settings.other.get("partial_rotary_factor").filter(|share| share.as_f64() != Some(1.0)) {
            return Err(BackboneError::config("partial_rotary_factor", share, "the Llama family rotates whole heads"));
        }
        let old = settings.other.get("type").and_then(Value::as_str);
        match settings.rope_type.as_deref().or(old).unwrap_or("default") {
            "default" => {}
            "llama3" => rotary.scaling = Some(settings.llama3()?),
            other => return Err(BackboneError::config("rope_type", other, "use default or llama3")),
        }
        Ok(rotary)
    }
}

/// Llama: RMSNorm, rotary positions, grouped-query attention, SwiGLU.
#[derive(Module, Debug)]
pub struct Llama {
    /// Token embedding, [V, D].
    pub embed_tokens: Param<Tensor<2>>,
    /// The blocks.
    pub layers: Vec<Block>,
    /// Final norm.
    pub norm: Norm,
    /// LM head [V, D] where it is not tied to `embed_tokens`.
    pub lm_head: Option<Param<Tensor<2>>>,
    #[module(skip)]
    max_positions: usize,
    #[module(skip)]
    block: BlockConfig,
}

impl Backbone for Llama {
    type Cache = KvCache;

    fn spec(&self) -> BackboneSpec {
        let [vocabulary, width] = self.embed_tokens.lazy_shape().dims();
        BackboneSpec {
            width,
            layers: self.layers.len(),
            vocabulary,
            max_positions: self.max_positions,
            predictor_block: self.block.clone(),
        }
    }

    fn embed(&self, tokens: Tensor<2, Int>, _at: &Positions) -> Tensor<3> {
        rows_of(self.embed_tokens.val(), tokens)
    }

    fn blocks(&self, x: Tensor<3>, range: Range<usize>, at: &Positions, caches: Option<&mut [KvCache]>) -> Tensor<3> {
        run_blocks(&self.layers[range], x, at, caches)
    }

    fn norm(&self, x: Tensor<3>) -> Tensor<3> {
        self.norm.forward(x)
    }

    fn head(&self) -> Tensor<2> {
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens).val()
    }

    fn new_caches(&self, range: Range<usize>, rows: usize, capacity: usize, device: &Device) -> Option<Vec<KvCache>> {
        Some(self.layers[range].iter().map(|block| block.cache(rows, capacity, device)).collect())
    }

    fn flops(&self, attended: usize) -> Option<BackboneFlops> {
        Some(flops(&self.block, attended, self.embed_tokens.lazy_shape().num_elements()))
    }

    fn own_blocks(&self) -> Option<&[Block]> {
        Some(&self.layers)
    }

    fn tensor_names(&self) -> Option<&'static TensorNames> {
        Some(&NAMES)
    }
}

#[cfg(test)]
mod tests;
