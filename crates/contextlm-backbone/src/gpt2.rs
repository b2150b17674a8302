//! GPT-2 (Radford et al. 2019), with the config of Hugging Face's `GPT2LMHeadModel`.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{DType, Device, Int, Tensor};
use contextlm_kernels::embedding;
use contextlm_nn::{
    AttentionConfig, Block, BlockConfig, Init, KvCache, MlpConfig, MlpKind, Norm, NormConfig, NormKind, Positions,
    QkvLayout, Residual, cast,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Backbone, BackboneError, BackboneFlops, BackboneSpec, TensorLayout, TensorNames};

/// Names of `GPT2LMHeadModel`'s tensors. The files on the hub have no prefix; linear maps are `Conv1D`s, which store
/// [inputs, outputs] as we do.
pub(crate) const NAMES: TensorNames = TensorNames {
    prefix: "transformer.",
    prefix_is_optional: true,
    outside: &[
        ("wte", "wte.weight"),
        ("wpe", "wpe.weight"),
        ("ln_f.weight", "ln_f.weight"),
        ("ln_f.bias", "ln_f.bias"),
    ],
    blocks: "h",
    norms: &[("norm_1", "ln_1"), ("norm_2", "ln_2")],
    linears: &[
        ("attention.qkv", "attn.c_attn"),
        ("attention.output", "attn.c_proj"),
        ("mlp.up", "mlp.c_fc"),
        ("mlp.down", "mlp.c_proj"),
    ],
    linear_layout: TensorLayout::Same,
    head: "lm_head",
    head_names: &["lm_head.weight"],
    tied_to: "wte",
};

/// Hugging Face's `GPT2Config`, field for field; keys that are not used here are kept as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gpt2Config {
    /// Vocabulary, V.
    pub vocab_size: usize,
    /// Learned positions.
    pub n_positions: usize,
    /// Width, D.
    pub n_embd: usize,
    /// Blocks, L.
    pub n_layer: usize,
    /// Heads; divides `n_embd`.
    pub n_head: usize,
    /// Width inside the MLP, 4 * `n_embd` if not given.
    pub n_inner: Option<usize>,
    /// `gelu_new` (also spelled `gelu_pytorch_tanh`) or `gelu`.
    pub activation_function: String,
    /// Dropout of what attention and MLP add.
    pub resid_pdrop: f64,
    /// Dropout of the embedding.
    pub embd_pdrop: f64,
    /// Dropout of attention probabilities.
    pub attn_pdrop: f64,
    /// Epsilon of the norms.
    pub layer_norm_epsilon: f64,
    /// Standard deviation of initial weights.
    pub initializer_range: f64,
    /// Whether the head is the token embedding.
    pub tie_word_embeddings: bool,
    /// Everything else in the file.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for Gpt2Config {
    /// The smallest GPT-2 (124,439,808 parameters), with the dropout of Hugging Face's defaults.
    fn default() -> Self {
        Self {
            vocab_size: 50257,
            n_positions: 1024,
            n_embd: 768,
            n_layer: 12,
            n_head: 12,
            n_inner: None,
            activation_function: "gelu_new".into(),
            resid_pdrop: 0.1,
            embd_pdrop: 0.1,
            attn_pdrop: 0.1,
            layer_norm_epsilon: 1e-5,
            initializer_range: 0.02,
            tie_word_embeddings: true,
            other: Map::new(),
        }
    }
}

impl Gpt2Config {
    /// Names of the presets.
    pub const PRESETS: [&'static str; 4] = ["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"];

    /// A published size by its name, without dropout.
    pub fn preset(name: &str) -> Option<Self> {
        let (n_layer, n_embd, n_head) = match name {
            "gpt2" => (12, 768, 12),
            "gpt2-medium" => (24, 1024, 16),
            "gpt2-large" => (36, 1280, 20),
            "gpt2-xl" => (48, 1600, 25),
            _ => return None,
        };
        Some(Self { n_layer, n_embd, n_head, resid_pdrop: 0.0, embd_pdrop: 0.0, attn_pdrop: 0.0, ..Self::default() })
    }

    /// The block that follows from this config.
    ///
    /// # Errors
    /// [`BackboneError`] naming the key that cannot be run.
    pub fn block(&self) -> Result<BlockConfig, BackboneError> {
        BackboneError::positive("n_embd", self.n_embd)?;
        BackboneError::positive("n_head", self.n_head)?;
        BackboneError::positive("n_inner", self.n_inner.unwrap_or(1))?;
        if !self.n_embd.is_multiple_of(self.n_head) {
            let fix = format!("must divide n_embd = {}", self.n_embd);
            return Err(BackboneError::config("n_head", self.n_head, fix));
        }
        for key in ["scale_attn_by_inverse_layer_idx", "add_cross_attention"] {
            if self.other.get(key) == Some(&Value::Bool(true)) {
                return Err(BackboneError::config(key, true, "only false is supported"));
            }
        }
        if self.other.get("scale_attn_weights") == Some(&Value::Bool(false)) {
            return Err(BackboneError::config("scale_attn_weights", false, "only true is supported"));
        }
        let kind = match self.activation_function.as_str() {
            "gelu_new" | "gelu_pytorch_tanh" => MlpKind::GeluTanh,
            "gelu" => MlpKind::Gelu,
            other => return Err(BackboneError::config("activation_function", other, "use gelu_new or gelu")),
        };
        let width = self.n_embd;
        let block = BlockConfig {
            attention: AttentionConfig {
                width,
                heads: self.n_head,
                kv_heads: self.n_head,
                head_dim: width / self.n_head,
                layout: QkvLayout::Concatenated,
                qkv_bias: true,
                output_bias: true,
                dropout: self.attn_pdrop,
            },
            mlp: MlpConfig { width, inner: self.n_inner.unwrap_or(4 * width), kind, bias: true },
            norm: self.norm(),
            rotary: None,
            residual: Residual::Serial,
            dropout: self.resid_pdrop,
            initializer_range: self.initializer_range,
            scale_residual_init: true,
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
        BackboneError::positive("n_positions", self.n_positions)?;
        BackboneError::layers("n_layer", self.n_layer)?;
        BackboneError::probability("embd_pdrop", self.embd_pdrop)?;
        self.block().map(|_| ())
    }

    /// A model with fresh weights: normal(0, `initializer_range`), residual projections divided by
    /// sqrt(2 * `n_layer`), biases 0.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn init(&self, init: &Init, device: &Device) -> Result<Gpt2, BackboneError> {
        self.validate()?;
        let block = self.block()?;
        let (width, std) = (self.n_embd, self.initializer_range);
        Ok(Gpt2 {
            wte: init.normal("wte", [self.vocab_size, width], std, device),
            wpe: init.normal("wpe", [self.n_positions, width], std, device),
            dropout: DropoutConfig::new(self.embd_pdrop).init(),
            h: (0..self.n_layer).map(|i| block.init(&init.at(format!("h.{i}")), self.n_layer, device)).collect(),
            ln_f: self.norm().init(&init.at("ln_f"), width, device),
            lm_head: (!self.tie_word_embeddings).then(|| init.normal("lm_head", [self.vocab_size, width], std, device)),
            block,
        })
    }

    fn norm(&self) -> NormConfig {
        NormConfig { kind: NormKind::Layer, eps: self.layer_norm_epsilon }
    }
}

/// GPT-2: learned positions, serial residual, a head that is usually the token embedding.
#[derive(Module, Debug)]
pub struct Gpt2 {
    /// Token embedding, [V, D].
    pub wte: Param<Tensor<2>>,
    /// Position embedding, [positions, D].
    pub wpe: Param<Tensor<2>>,
    dropout: Dropout,
    /// The blocks.
    pub h: Vec<Block>,
    /// Final norm.
    pub ln_f: Norm,
    /// LM head [V, D] where it is not tied to `wte`.
    pub lm_head: Option<Param<Tensor<2>>>,
    #[module(skip)]
    block: BlockConfig,
}

impl Backbone for Gpt2 {
    type Cache = KvCache;

    fn spec(&self) -> BackboneSpec {
        let [vocabulary, width] = self.wte.lazy_shape().dims();
        let [max_positions, _] = self.wpe.lazy_shape().dims();
        BackboneSpec { width, layers: self.h.len(), vocabulary, max_positions, predictor_block: self.block.clone() }
    }

    fn embed(&self, tokens: Tensor<2, Int>, at: &Positions) -> Tensor<3> {
        let positions = rows_of(self.wpe.val(), at.ids());
        self.dropout.forward(rows_of(self.wte.val(), tokens) + positions)
    }

    fn blocks(&self, x: Tensor<3>, range: Range<usize>, at: &Positions, caches: Option<&mut [KvCache]>) -> Tensor<3> {
        run_blocks(&self.h[range], x, at, caches)
    }

    fn norm(&self, x: Tensor<3>) -> Tensor<3> {
        self.ln_f.forward(x)
    }

    fn head(&self) -> Tensor<2> {
        self.lm_head.as_ref().unwrap_or(&self.wte).val()
    }

    fn new_caches(&self, range: Range<usize>, rows: usize, capacity: usize, device: &Device) -> Option<Vec<KvCache>> {
        Some(self.h[range].iter().map(|block| block.cache(rows, capacity, device)).collect())
    }

    fn flops(&self, attended: usize) -> Option<BackboneFlops> {
        Some(flops(&self.block, attended, self.wte.lazy_shape().num_elements()))
    }

    fn own_blocks(&self) -> Option<&[Block]> {
        Some(&self.h)
    }

    fn tensor_names(&self) -> Option<&'static TensorNames> {
        Some(&NAMES)
    }
}

/// Rows of an embedding table [N, D] by their numbers [B, T], as [B, T, D] in f32.
pub(crate) fn rows_of(table: Tensor<2>, numbers: Tensor<2, Int>) -> Tensor<3> {
    // The gradient of a row is a sum over all its uses, which bf16 could not add up.
    let table = if table.is_tracked() { cast(table, DType::F32) } else { table };
    cast(embedding(table, numbers), DType::F32)
}

/// Runs blocks one after another; they share the angles of their rotary positions.
pub(crate) fn run_blocks(
    blocks: &[Block],
    mut x: Tensor<3>,
    at: &Positions,
    mut caches: Option<&mut [KvCache]>,
) -> Tensor<3> {
    let rotary = blocks.first().and_then(|block| block.rotary(at));
    for (i, block) in blocks.iter().enumerate() {
        let cache = caches.as_deref_mut().map(|caches| &mut caches[i]);
        x = block.forward(x, at, rotary.as_ref(), cache);
    }
    x
}

/// Arithmetic of a stack of equal blocks and a head of `head_weights` weights.
pub(crate) fn flops(block: &BlockConfig, attended: usize, head_weights: usize) -> BackboneFlops {
    BackboneFlops { block: block.flops_per_entry(attended), head: 2 * head_weights as u64 }
}
