use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Device, Tensor};

use crate::{
    Attention, AttentionConfig, Init, KvCache, Mlp, MlpConfig, MlpKind, NnError, Norm, NormConfig, NormKind, Positions,
    QkvLayout, Rotary, RotaryConfig,
};

/// How attention and MLP are added to the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residual {
    /// `x + attention(norm_1(x))`, then the MLP on the sum (GPT-2, Llama).
    Serial,
    /// `x + attention(norm_1(x)) + mlp(norm_2(x))` (GPT-NeoX with `use_parallel_residual`).
    Parallel,
}

/// Settings of one transformer block.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockConfig {
    /// Self-attention.
    pub attention: AttentionConfig,
    /// Feed-forward part.
    pub mlp: MlpConfig,
    /// Both norms.
    pub norm: NormConfig,
    /// Rotary positions, if any.
    pub rotary: Option<RotaryConfig>,
    /// How the parts are added.
    pub residual: Residual,
    /// Dropout of what attention and MLP add, in training only.
    pub dropout: f64,
    /// Standard deviation of initial weights (`initializer_range`).
    pub initializer_range: f64,
    /// Whether the maps that write into the stream start smaller by sqrt(2 * layers) (GPT-2).
    pub scale_residual_init: bool,
}

/// One transformer block: norms, attention, MLP.
#[derive(Module, Debug)]
pub struct Block {
    /// Before attention.
    pub norm_1: Norm,
    /// Causal self-attention.
    pub attention: Attention,
    /// Before the MLP.
    pub norm_2: Norm,
    /// Feed-forward part.
    pub mlp: Mlp,
    dropout: Dropout,
    #[module(skip)]
    config: BlockConfig,
}

impl BlockConfig {
    /// A plain pre-norm block for this width, for backbones that have none of their own: GPT-2's, with heads of
    /// 64 (one head where 64 does not divide the width).
    pub fn for_width(width: usize) -> Self {
        let heads = if width.is_multiple_of(64) { width / 64 } else { 1 };
        Self {
            attention: AttentionConfig {
                width,
                heads,
                kv_heads: heads,
                head_dim: width / heads.max(1),
                layout: QkvLayout::Concatenated,
                qkv_bias: true,
                output_bias: true,
                dropout: 0.0,
            },
            mlp: MlpConfig { width, inner: 4 * width, kind: MlpKind::GeluTanh, bias: true },
            norm: NormConfig { kind: NormKind::Layer, eps: 1e-5 },
            rotary: None,
            residual: Residual::Serial,
            dropout: 0.0,
            initializer_range: 0.02,
            scale_residual_init: true,
        }
    }

    /// Checks that the sizes fit each other.
    ///
    /// # Errors
    /// [`NnError::Config`] naming the first key that does not.
    pub fn validate(&self) -> Result<(), NnError> {
        let AttentionConfig { width, heads, kv_heads, head_dim, dropout, layout, .. } = self.attention;
        for (key, value) in [
            ("hidden_size", width),
            ("num_attention_heads", heads),
            ("num_key_value_heads", kv_heads),
            ("head_dim", head_dim),
        ] {
            if value == 0 {
                return Err(NnError::config(key, value, "must be at least 1"));
            }
        }
        if self.mlp.inner == 0 {
            return Err(NnError::config("intermediate_size", 0, "must be at least 1"));
        }
        if !heads.is_multiple_of(kv_heads) {
            let fix = format!("must divide num_attention_heads = {heads}");
            return Err(NnError::config("num_key_value_heads", kv_heads, fix));
        }
        if layout != QkvLayout::Separate && kv_heads != heads {
            let fix = format!("must equal num_attention_heads = {heads} where query, key and value are one map");
            return Err(NnError::config("num_key_value_heads", kv_heads, fix));
        }
        if let Some(RotaryConfig { dimensions, theta, .. }) = self.rotary {
            if dimensions == 0 || dimensions % 2 != 0 || dimensions > head_dim {
                let fix = format!("must be even, above 0 and at most head_dim = {head_dim}");
                return Err(NnError::config("rotary dimensions", dimensions, fix));
            }
            if !(theta.is_finite() && theta > 0.0) {
                return Err(NnError::config("rope_theta", theta, "must be above 0"));
            }
        }
        for (key, value) in [("attention dropout", dropout), ("dropout", self.dropout)] {
            if !(0.0..1.0).contains(&value) {
                return Err(NnError::config(key, value, "must be at least 0 and below 1"));
            }
        }
        if !(self.norm.eps.is_finite() && self.norm.eps >= 0.0) {
            return Err(NnError::config("norm eps", self.norm.eps, "must be 0 or above"));
        }
        if !(self.initializer_range.is_finite() && self.initializer_range >= 0.0) {
            return Err(NnError::config("initializer_range", self.initializer_range, "must be 0 or above"));
        }
        Ok(())
    }

    /// One block of a stack of `layers`, weights from normal(0, `initializer_range`), biases 0, norms 1 and 0.
    pub fn init(&self, init: &Init, layers: usize, device: &Device) -> Block {
        let std = self.initializer_range;
        let output_std = if self.scale_residual_init { std / (2.0 * layers as f64).sqrt() } else { std };
        let width = self.attention.width;
        Block {
            norm_1: self.norm.init(&init.at("norm_1"), width, device),
            attention: self.attention.init(&init.at("attention"), std, output_std, device),
            norm_2: self.norm.init(&init.at("norm_2"), width, device),
            mlp: self.mlp.init(&init.at("mlp"), std, output_std, device),
            dropout: DropoutConfig::new(self.dropout).init(),
            config: self.clone(),
        }
    }

    /// Arithmetic of a forward pass: 2 for every weight of a linear map, and 4 * heads * head_dim for every
    /// entry attended to, without a discount for causality (nanoGPT's rule).
    pub fn flops_per_entry(&self, attended: usize) -> u64 {
        let weights = self.attention.linear_weights() + self.mlp.linear_weights();
        2 * weights as u64 + 4 * (self.attention.heads * self.attention.head_dim * attended) as u64
    }
}

impl Block {
    /// # Shapes
    /// [B, T, D] to [B, T, D]
    pub fn forward(
        &self,
        x: Tensor<3>,
        at: &Positions,
        rotary: Option<&Rotary>,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let attended = self.dropout.forward(self.attention.forward(self.norm_1.forward(x.clone()), at, rotary, cache));
        match self.config.residual {
            Residual::Serial => {
                let x = x + attended;
                let added = self.mlp.forward(self.norm_2.forward(x.clone()));
                x + self.dropout.forward(added)
            }
            Residual::Parallel => {
                let added = self.mlp.forward(self.norm_2.forward(x.clone()));
                x + attended + self.dropout.forward(added)
            }
        }
    }

    /// The probabilities with which the block's entries attend to each other, to look at; see [`Attention::weights`].
    ///
    /// # Shapes
    /// [B, T, D], what [`forward`](Self::forward) is given, to [B, H, T, T]
    pub fn attention_weights(&self, x: Tensor<3>, at: &Positions, rotary: Option<&Rotary>) -> Tensor<4> {
        self.attention.weights(self.norm_1.forward(x), at, rotary)
    }

    /// An empty cache for this block, see [`KvCache::new`].
    pub fn cache(&self, rows: usize, capacity: usize, device: &Device) -> KvCache {
        KvCache::new(rows, self.config.attention.kv_heads, self.config.attention.head_dim, capacity, device)
    }

    /// The angles that [`forward`](Self::forward) wants for these positions, `None` without rotary positions.
    pub fn rotary(&self, at: &Positions) -> Option<Rotary> {
        self.config.rotary.as_ref().map(|rotary| rotary.angles(at.ids()))
    }
}
