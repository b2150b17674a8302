//! The extension trait of the norms.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

use super::composed;

/// Norms over the last dimension, and their gradients. Shapes as in [`layer_norm`](super::layer_norm) and
/// [`rms_norm`](super::rms_norm); `upstream` has that of x.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu")),
    LibTorch: cfg(feature = "libtorch"),
    Autodiff
)]
#[allow(unused_variables)] // without a backend
pub(crate) trait NormOps: Backend {
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        Self::layer_norm(x, weight, Some(bias), eps)
    }

    /// The same, and mean and 1 / deviation of every row where the backward wants them, for
    /// [`fused_layer_norm_backward_of`](Self::fused_layer_norm_backward_of).
    #[allow(clippy::type_complexity)] // the macro wants the types written out
    fn fused_layer_norm_with_statistics(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>, Option<FloatTensor<Self>>) {
        (Self::fused_layer_norm(x, weight, bias, eps), None, None)
    }

    /// Gradients of x, weight and bias from the statistics of the forward.
    #[allow(clippy::type_complexity)]
    fn fused_layer_norm_backward_of(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        rstd: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        Self::fused_layer_norm_backward(x, weight, upstream, eps)
    }

    /// Gradients of x, weight and bias.
    #[allow(clippy::type_complexity)] // the macro wants the types written out
    fn fused_layer_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::layer_norm_backward::<Self>(x, weight, upstream, eps)
    }

    fn fused_rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        composed::rms_norm::<Self>(x, weight, eps)
    }

    /// Gradients of x and weight.
    fn fused_rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::gradients::<Self>(x, weight, upstream, eps, false)
    }
}
