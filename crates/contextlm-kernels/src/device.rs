//! Which tensors have fast bodies.

use burn::tensor::Tensor;

/// Whether a tensor is on flex, where f32 is multiplied as f32 and sums are in f32.
#[cfg(feature = "flex")]
pub fn on_flex<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device().without_autodiff() == burn::tensor::Device::flex()
}

/// Whether a tensor is on LibTorch's CPU backend.
#[cfg(feature = "libtorch")]
pub(crate) fn on_libtorch_cpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device().without_autodiff() == burn::tensor::Device::libtorch()
}

/// Whether a tensor is on LibTorch's CPU backend, which is not in this build: no.
#[cfg(not(feature = "libtorch"))]
pub(crate) fn on_libtorch_cpu<const D: usize>(_: &Tensor<D>) -> bool {
    false
}

/// Whether a tensor is on flex, which is not in this build: no.
#[cfg(not(feature = "flex"))]
pub fn on_flex<const D: usize>(_: &Tensor<D>) -> bool {
    false
}

/// Whether a tensor is on a device of CubeCL: a GPU, as a rule.
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
pub(crate) fn on_cubecl<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device().without_autodiff().identity().is_some()
}

/// Whether a tensor is on a device of CubeCL, which is not in this build: no.
#[cfg(not(any(feature = "wgpu", feature = "cuda", feature = "cpu")))]
pub(crate) fn on_cubecl<const D: usize>(_: &Tensor<D>) -> bool {
    false
}
