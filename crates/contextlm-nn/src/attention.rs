mod weights;

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Device, Tensor};
use contextlm_kernels::{QkvOrder, attention, attention_of_projection, attention_with, split_turned_projection};

use crate::{Init, KvCache, Positions, Rotary, apply, cast, linear};

/// How a model stores its query, key and value projections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkvLayout {
    /// One map to all queries, then all keys, then all values (GPT-2's `c_attn`).
    Concatenated,
    /// One map; every head has its query, key and value side by side (GPT-NeoX's `query_key_value`).
    PerHead,
    /// Three maps (Llama), which alone allow fewer key-value heads than heads.
    Separate,
}

/// Settings of causal self-attention.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionConfig {
    /// Width of the model, D.
    pub width: usize,
    /// Query heads, H.
    pub heads: usize,
    /// Key and value heads, G; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head, Dh.
    pub head_dim: usize,
    /// How the projections are stored.
    pub layout: QkvLayout,
    /// Whether the query, key and value maps have a bias.
    pub qkv_bias: bool,
    /// Whether the output map has a bias.
    pub output_bias: bool,
    /// Dropout of attention probabilities, in training only.
    pub dropout: f64,
}

/// Query, key and value projections as the family stores them.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // a Linear is a few pointers; a box would cost an indirection to save none
pub enum QueryKeyValue {
    /// One linear map, split after it.
    Fused(Linear),
    /// A map each.
    Separate(SeparateQkv),
}

/// Query, key and value maps, one by one.
#[derive(Module, Debug)]
pub struct SeparateQkv {
    /// [D, H*Dh].
    pub query: Linear,
    /// [D, G*Dh].
    pub key: Linear,
    /// [D, G*Dh].
    pub value: Linear,
}

/// Causal multi-head self-attention with grouped key-value heads.
#[derive(Module, Debug)]
pub struct Attention {
    /// The input projections.
    pub qkv: QueryKeyValue,
    /// The output projection, [H*Dh, D].
    pub output: Linear,
    dropout: Dropout,
    #[module(skip)]
    config: AttentionConfig,
}

impl AttentionConfig {
    /// Weights from normal(0, `std`), the output map's from normal(0, `output_std`), biases 0.
    pub fn init(&self, init: &Init, std: f64, output_std: f64, device: &Device) -> Attention {
        let (width, inner, kv) = (self.width, self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let map = |name: &str, outputs| linear(&init.at(name), width, outputs, self.qkv_bias, std, device);
        Attention {
            qkv: match self.layout {
                QkvLayout::Concatenated | QkvLayout::PerHead => QueryKeyValue::Fused(map("qkv", inner + 2 * kv)),
                QkvLayout::Separate => QueryKeyValue::Separate(SeparateQkv {
                    query: map("query", inner),
                    key: map("key", kv),
                    value: map("value", kv),
                }),
            },
            output: linear(&init.at("output"), inner, width, self.output_bias, output_std, device),
            dropout: DropoutConfig::new(self.dropout).init(),
            config: self.clone(),
        }
    }

    /// Weights of the linear maps, biases not counted.
    pub fn linear_weights(&self) -> usize {
        2 * self.width * self.head_dim * (self.heads + self.kv_heads)
    }
}

impl Attention {
    /// Attends from every entry to itself and the entries before it.
    ///
    /// # Shapes
    /// [B, T, D] to [B, T, D]
    pub fn forward(
        &self,
        x: Tensor<3>,
        at: &Positions,
        rotary: Option<&Rotary>,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let (dtype, device) = (x.dtype(), x.device());
        let AttentionConfig { heads, head_dim, dropout, .. } = self.config;
        let scale = 1.0 / (head_dim as f64).sqrt();
        let drops = dropout > 0.0 && device.is_autodiff();
        if let (QueryKeyValue::Fused(map), None, false) = (&self.qkv, &cache, drops) {
            let (all, angles) = (apply(map, x), rotary.map(Rotary::angles));
            let mixed = attention_of_projection(all, heads, self.order(), angles, at.ranges(), scale);
            return cast(apply(&self.output, mixed), dtype);
        }

        let [query, mut key, mut value] = self.project(x, rotary); // [B, T, H, Dh], twice [B, T, G, Dh]
        if let Some(cache) = cache {
            let (keys, values) = cache.append(key.swap_dims(1, 2), value.swap_dims(1, 2), at.counts());
            (key, value) = (keys.swap_dims(1, 2), values.swap_dims(1, 2)); // [B, S, G, Dh]
        }
        let mixed = if drops {
            attention_with(query, key, value, at.ranges(), scale, |weights| self.dropout.forward(weights))
        } else {
            attention(query, key, value, at.ranges(), scale)
        };
        cast(apply(&self.output, mixed), dtype)
    }

    /// Queries [B, T, H, Dh], keys and values [B, T, G, Dh], queries and keys turned.
    fn project(&self, x: Tensor<3>, rotary: Option<&Rotary>) -> [Tensor<4>; 3] {
        let [rows, length, _] = x.dims();
        let AttentionConfig { heads, kv_heads, head_dim, .. } = self.config;
        match &self.qkv {
            QueryKeyValue::Fused(map) => {
                split_turned_projection(apply(map, x), heads, self.order(), rotary.map(Rotary::angles))
            }
            QueryKeyValue::Separate(maps) => {
                let split = |map: &Linear, heads: usize| apply(map, x.clone()).reshape([rows, length, heads, head_dim]);
                let turned = |x: Tensor<4>| match rotary {
                    Some(rotary) => rotary.rotate(x),
                    None => x,
                };
                let [query, key] = [split(&maps.query, heads), split(&maps.key, kv_heads)].map(turned);
                [query, key, split(&maps.value, kv_heads)]
            }
        }
    }

    fn order(&self) -> QkvOrder {
        match self.config.layout {
            QkvLayout::PerHead => QkvOrder::Heads,
            QkvLayout::Concatenated | QkvLayout::Separate => QkvOrder::Parts,
        }
    }
}
