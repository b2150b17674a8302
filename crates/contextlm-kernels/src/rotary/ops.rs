//! The extension trait of the rotation.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

/// Rotation in few passes. As attention, it has no composed body: where there is no fast one, it is made of burn's own
/// operations, which burn differentiates.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu")),
    LibTorch: cfg(feature = "libtorch"),
    Autodiff
)]
#[allow(unused_variables)] // without a backend
pub(crate) trait RotaryOps: Backend {
    /// Shapes as in [`rotary`](super::rotary()); `back` turns the other way.
    fn fused_rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        back: bool,
    ) -> FloatTensor<Self>;
}
