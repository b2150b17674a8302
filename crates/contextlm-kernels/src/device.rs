//! Which tensors have fast bodies.

use burn::tensor::Tensor;

/// Whether a tensor is on flex, where f32 is multiplied as f32 and sums are in f32.
#[cfg(feature = "flex")]
pub fn on_flex<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device().without_autodiff() == burn::tensor::Device::flex()
}

/// Whether a tensor is on LibTorch, on the CPU or a GPU of NVIDIA. Its bodies look which one it is.
#[cfg(feature = "libtorch")]
pub(crate) fn on_libtorch<const D: usize>(tensor: &Tensor<D>) -> bool {
    use burn::backend::{DispatchDevice, LibTorchDevice};
    let device = tensor.device().without_autodiff();
    matches!(device.as_dispatch(), DispatchDevice::LibTorch(LibTorchDevice::Cpu | LibTorchDevice::Cuda(_)))
}

/// Whether a tensor is on LibTorch, which is not in this build: no.
#[cfg(not(feature = "libtorch"))]
pub(crate) fn on_libtorch<const D: usize>(_: &Tensor<D>) -> bool {
    false
}

/// Whether a tensor is on LibTorch's GPU backend.
#[cfg(feature = "libtorch")]
pub(crate) fn on_libtorch_cuda<const D: usize>(tensor: &Tensor<D>) -> bool {
    on_libtorch(tensor) && tensor.device().without_autodiff() != burn::tensor::Device::libtorch()
}

/// Whether a tensor is on LibTorch's GPU backend, which is not in this build: no.
#[cfg(not(feature = "libtorch"))]
pub(crate) fn on_libtorch_cuda<const D: usize>(_: &Tensor<D>) -> bool {
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
