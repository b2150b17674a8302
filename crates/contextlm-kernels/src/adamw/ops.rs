//! The extension trait of the optimizer's step.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

use super::AdamWStep;

/// A step in one pass, on plain tensors; elsewhere burn's own optimizer does it.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu")),
    LibTorch: cfg(feature = "libtorch")
)]
#[allow(unused_variables)] // without a backend
pub(crate) trait AdamWOps: Backend {
    /// Parameter and moments after the step, in the memory of those before it where nobody else holds that.
    #[allow(clippy::type_complexity)] // the macro wants the types written out
    fn fused_adamw(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}
