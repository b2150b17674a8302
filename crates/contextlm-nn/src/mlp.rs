use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use contextlm_kernels::{gelu, gelu_tanh, swiglu};

use crate::{Init, apply, cast, linear};

/// What stands between the MLP's maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MlpKind {
    /// GELU in its exact form (GPT-NeoX: `gelu`).
    Gelu,
    /// GELU in its tanh form (GPT-2: `gelu_new`).
    GeluTanh,
    /// SiLU of a gate times a second map (Llama).
    SwiGlu,
}

/// Settings of the feed-forward part of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct MlpConfig {
    /// Width of the model, D.
    pub width: usize,
    /// Width inside, F.
    pub inner: usize,
    /// Activation.
    pub kind: MlpKind,
    /// Whether the maps have biases.
    pub bias: bool,
}

/// The feed-forward part of a block.
#[derive(Module, Debug)]
pub struct Mlp {
    /// [D, F], SwiGLU only.
    pub gate: Option<Linear>,
    /// [D, F].
    pub up: Linear,
    /// [F, D].
    pub down: Linear,
    #[module(skip)]
    kind: MlpKind,
}

impl MlpConfig {
    /// Weights from normal(0, `std`), those of the map back from normal(0, `output_std`), biases 0.
    pub fn init(&self, init: &Init, std: f64, output_std: f64, device: &Device) -> Mlp {
        let map = |name: &str| linear(&init.at(name), self.width, self.inner, self.bias, std, device);
        Mlp {
            gate: (self.kind == MlpKind::SwiGlu).then(|| map("gate")),
            up: map("up"),
            down: linear(&init.at("down"), self.inner, self.width, self.bias, output_std, device),
            kind: self.kind,
        }
    }

    /// Weights of the linear maps, biases not counted.
    pub fn linear_weights(&self) -> usize {
        let maps = if self.kind == MlpKind::SwiGlu { 3 } else { 2 };
        maps * self.width * self.inner
    }
}

impl Mlp {
    /// # Shapes
    /// [B, T, D] to [B, T, D]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let dtype = x.dtype();
        let gate = self.gate.as_ref().map(|gate| apply(gate, x.clone()));
        let up = apply(&self.up, x);
        let inner = match (self.kind, gate) {
            (MlpKind::Gelu, _) => gelu(up),
            (MlpKind::GeluTanh, _) => gelu_tanh(up),
            (MlpKind::SwiGlu, Some(gate)) => swiglu(gate, up),
            (MlpKind::SwiGlu, None) => up,
        };
        cast(apply(&self.down, inner), dtype)
    }
}
