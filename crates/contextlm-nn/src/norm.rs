use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor};
use contextlm_kernels::{layer_norm, rms_norm};
use serde::{Deserialize, Serialize};

use crate::{Init, cast, in_f32};

/// Which normalisation a model uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// `torch.nn.LayerNorm`: mean and variance, weight and bias.
    Layer,
    /// `torch.nn.RMSNorm`: root mean square, weight only.
    Rms,
}

/// A norm's kind and its epsilon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormConfig {
    /// The kind.
    pub kind: NormKind,
    /// Added to the variance (or the mean square) before the root.
    pub eps: f64,
}

/// Normalisation over the last dimension.
#[derive(Module, Debug)]
pub struct Norm {
    /// `[D]`, starts at 1.
    pub weight: Param<Tensor<1>>,
    /// `[D]`, starts at 0; absent in RMSNorm.
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    config: NormConfig,
}

impl NormConfig {
    /// A norm of `width` dimensions: weight 1, bias 0.
    pub fn init(&self, init: &Init, width: usize, device: &Device) -> Norm {
        Norm {
            weight: init.constant([width], 1.0, device),
            bias: (self.kind == NormKind::Layer).then(|| init.constant([width], 0.0, device)),
            config: *self,
        }
    }

    /// Parameters of a norm of `width` dimensions.
    pub fn parameters(&self, width: usize) -> usize {
        match self.kind {
            NormKind::Layer => 2 * width,
            NormKind::Rms => width,
        }
    }
}

impl Norm {
    /// Normalises the last dimension, in f32.
    ///
    /// # Shapes
    /// `[..., D]` to `[..., D]`
    pub fn forward<const R: usize>(&self, x: Tensor<R>) -> Tensor<R> {
        let weight = cast(self.weight.val(), DType::F32);
        let bias = self.bias.as_ref().map(|bias| cast(bias.val(), DType::F32));
        in_f32(x, |x| match bias {
            Some(bias) => layer_norm(x, weight, bias, self.config.eps),
            None => rms_norm(x, weight, self.config.eps),
        })
    }
}
