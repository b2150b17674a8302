//! GELU, exact and by its tanh approximation.

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
use burn::tensor::activation::gelu_approximate;
use ops::GeluOps;

use crate::fused;

/// Which GELU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GeluKind {
    Exact,
    Tanh,
}

/// Exact GELU, element by element: `0.5 x (1 + erf(x / sqrt(2)))`, PyTorch's `gelu` with `approximate="none"`.
///
/// burn has this function too, but differentiates it by a fit of its tanh approximation on some backends, which is off
/// by up to 9e-4. Here the gradient is exact everywhere: `0.5 (1 + erf(x / sqrt(2))) + x exp(-x^2 / 2) / sqrt(2 pi)`.
///
/// # Shapes
/// any, and the same one back
///
/// # Panics
/// On a backend whose feature is off.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fused_gelu(x.into_dispatch(), GeluKind::Exact))
}

/// GELU by its tanh approximation: `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, PyTorch's `gelu` with
/// `approximate="tanh"`, GPT-2's `gelu_new`.
///
/// # Shapes
/// any, and the same one back
///
/// # Panics
/// On a backend whose feature is off.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !fused() {
        return gelu_approximate(x);
    }
    Tensor::from_dispatch(Dispatch::fused_gelu(x.into_dispatch(), GeluKind::Tanh))
}
