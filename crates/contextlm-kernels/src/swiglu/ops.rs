//! The extension trait of SwiGLU.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

use super::composed;

/// SwiGLU and its gradients; all shapes are the same.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu")),
    LibTorch: cfg(feature = "libtorch"),
    Autodiff
)]
#[allow(unused_variables)] // without a backend
pub(crate) trait SwiGluOps: Backend {
    fn fused_swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::swiglu::<Self>(gate, up)
    }

    /// Gradients of gate and up.
    fn fused_swiglu_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::gradients::<Self>(gate, up, upstream)
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
impl SwiGluOps for burn::backend::Cube {}
