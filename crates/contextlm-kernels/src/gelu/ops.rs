//! The extension trait of the GELU.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

use super::{GeluKind, composed};

/// GELU and its gradient.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu")),
    LibTorch: cfg(feature = "libtorch"),
    Autodiff
)]
#[allow(unused_variables)] // without a backend
pub(crate) trait GeluOps: Backend {
    fn fused_gelu(x: FloatTensor<Self>, kind: GeluKind) -> FloatTensor<Self> {
        composed::gelu::<Self>(x, kind)
    }

    /// `upstream` times the derivative at `x`.
    fn fused_gelu_backward(x: FloatTensor<Self>, upstream: FloatTensor<Self>, kind: GeluKind) -> FloatTensor<Self> {
        composed::gradient::<Self>(x, upstream, kind)
    }
}
