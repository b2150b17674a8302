//! The extension trait of linear maps of 8 bits, with its body for flex.

use burn::backend::ops::{FloatTensorOps, ModuleOps, QTensorOps};
use burn::backend::tensor::{FloatTensor, QuantizedTensor};
use burn::backend::{Backend, backend_extension};
use burn::tensor::FloatDType;

/// x W^T for W [outputs, inputs].
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu")),
    LibTorch: cfg(feature = "libtorch"),
    Autodiff
)]
pub(crate) trait Int8Ops: Backend {
    #[allow(unused_variables)] // without a backend
    fn int8_map(x: FloatTensor<Self>, weight: QuantizedTensor<Self>) -> FloatTensor<Self> {
        let weight = <Self as QTensorOps<Self>>::dequantize(weight, FloatDType::F32);
        let weight = <Self as FloatTensorOps<Self>>::float_swap_dims(weight, 0, 1);
        <Self as ModuleOps<Self>>::linear(x, weight, None)
    }
}

#[cfg(feature = "flex")]
impl Int8Ops for burn::backend::Flex {
    fn int8_map(x: FloatTensor<Self>, weight: QuantizedTensor<Self>) -> FloatTensor<Self> {
        super::flex::int8_map(x, &weight)
    }
}

#[cfg(feature = "libtorch")]
impl Int8Ops for burn::backend::LibTorch {}

#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
impl Int8Ops for burn::backend::Cube {}
