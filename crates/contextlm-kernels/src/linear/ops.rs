//! The extension trait of linear maps.

use burn::backend::ops::ModuleOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::FloatDType;

use crate::cast::cast;

/// Linear maps. The macro knows no tensor that may be missing, hence two methods.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu")),
    LibTorch: cfg(feature = "libtorch"),
    Autodiff
)]
pub(crate) trait LinearMapOps: Backend {
    /// x W.
    #[allow(unused_variables)] // without a backend
    fn linear_map(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as ModuleOps<Self>>::linear(x, weight, None)
    }

    /// x W + b; on CubeCL, b may be of another type.
    #[allow(unused_variables)]
    fn biased_map(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as ModuleOps<Self>>::linear(x, weight, Some(bias))
    }

    /// The gradient of x, `upstream` being that of the output.
    #[allow(unused_variables)]
    fn map_x_backward(weight: FloatTensor<Self>, upstream: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as ModuleOps<Self>>::linear_x_backward(weight, upstream)
    }

    /// The gradient of the weight.
    #[allow(unused_variables)]
    fn map_weight_backward(x: FloatTensor<Self>, upstream: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as ModuleOps<Self>>::linear_weight_backward(x, upstream)
    }

    /// The gradient of the bias, in its type.
    #[allow(unused_variables)]
    fn map_bias_backward(upstream: FloatTensor<Self>, dtype: FloatDType) -> FloatTensor<Self> {
        cast::<Self>(<Self as ModuleOps<Self>>::linear_bias_backward(upstream), dtype)
    }
}
