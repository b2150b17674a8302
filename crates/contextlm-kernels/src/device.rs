//! Which tensors have fast bodies.

use burn::tensor::Tensor;

/// Whether a tensor is on flex.
#[cfg(feature = "flex")]
pub(crate) fn on_flex<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device().without_autodiff() == burn::tensor::Device::flex()
}

#[cfg(not(feature = "flex"))]
pub(crate) fn on_flex<const D: usize>(_: &Tensor<D>) -> bool {
    false
}
