//! Layer norm and RMS norm.

mod backward;
mod composed;
#[cfg(feature = "flex")]
mod flex;
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
mod gpu;
#[cfg(feature = "libtorch")]
mod libtorch;
mod ops;
#[cfg(any(feature = "flex", feature = "libtorch"))]
mod slices;

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn::tensor::module::layer_norm as burn_layer_norm;
use ops::NormOps;

use crate::fused;

/// `torch.nn.functional.layer_norm` over the last dimension: `(x - mean) / sqrt(variance + eps) * weight + bias`.
///
/// # Shapes
/// - x: `[..., D]`
/// - weight, bias: `[D]`
/// - returns `[..., D]`
///
/// # Panics
/// If the widths differ, or on a backend whose feature is off.
pub fn layer_norm<const R: usize>(x: Tensor<R>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<R> {
    check(&x, &[("weight", &weight), ("bias", &bias)]);
    if !fused() {
        return burn_layer_norm(x, weight, Some(bias), eps);
    }
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::fused_layer_norm(x, weight, bias, eps))
}

/// `torch.nn.functional.rms_norm` over the last dimension: `x / sqrt(mean(x^2) + eps) * weight` (arXiv 1910.07467).
///
/// # Shapes
/// - x: `[..., D]`
/// - weight: `[D]`
/// - returns `[..., D]`
///
/// # Panics
/// If the widths differ, or on a backend whose feature is off.
pub fn rms_norm<const R: usize>(x: Tensor<R>, weight: Tensor<1>, eps: f64) -> Tensor<R> {
    check(&x, &[("weight", &weight)]);
    if !fused() {
        let mean_square = x.clone().square().mean_dim(R - 1);
        return x * (mean_square + eps).sqrt().recip() * weight.unsqueeze();
    }
    Tensor::from_dispatch(Dispatch::fused_rms_norm(x.into_dispatch(), weight.into_dispatch(), eps))
}

fn check<const R: usize>(x: &Tensor<R>, parameters: &[(&str, &Tensor<1>)]) {
    let width = x.dims()[R - 1];
    for (name, parameter) in parameters {
        let [elements] = parameter.dims();
        assert_eq!(width, elements, "x has width {width}, {name} has {elements} elements: they must be equal");
    }
}
