//! Linear maps.

mod backward;
#[cfg(feature = "flex")]
mod few_rows;
#[cfg(feature = "flex")]
mod flex;
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
mod gpu;
#[cfg(feature = "libtorch")]
mod libtorch;
#[cfg(any(feature = "flex", feature = "wgpu", feature = "cuda", feature = "cpu"))]
mod no_rows;
mod ops;

#[cfg(feature = "flex")]
pub(crate) use few_rows::in_runs_of_outputs;
#[cfg(feature = "flex")]
pub(crate) use flex::FEW;

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn::tensor::module::linear as burn_linear;
use ops::LinearMapOps;

use crate::device::on_cubecl;
use crate::fused;

/// A linear map, `x W + b`.
///
/// On flex, a map of few rows reads every weight once, on all threads, at the speed of the memory: what decoding token by
/// token needs. It takes W as it lies, also transposed (an LM head [V, D] as `head.transpose()`), in f32, bf16 and f16;
/// sums are in f32. On LibTorch, a map and its gradients go over all rows at once, with the bias in the product. On GPUs
/// (CubeCL) it is one product of all rows too; on NVIDIA's GPUs since Ampere in full f32, without TF32, and on
/// Hopper, with the feature `cuda-cpp`, by a kernel that is not tuned for. A bias of another type than the rest is
/// changed to that type.
///
/// # Shapes
/// `[..., inputs]` with W [inputs, outputs] and b `[outputs]` to `[..., outputs]`
///
/// # Panics
/// If the shapes or types do not fit together, or on a backend whose feature is off.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let ([inputs, outputs], width) = (weight.dims(), x.dims()[D - 1]);
    assert_eq!(width, inputs, "x has width {width}, weight has {inputs} inputs: they must be equal");
    assert_eq!(x.dtype(), weight.dtype(), "x and weight must be of one type");
    if let Some([biases]) = bias.as_ref().map(Tensor::dims) {
        assert_eq!(biases, outputs, "bias has {biases} elements, weight has {outputs} outputs: they must be equal");
    }
    // On CubeCL the gradient of the bias is added up in f32, and need not be rounded to the type of x.
    let takes_any = fused() && on_cubecl(&x);
    let bias = bias.map(|bias| if takes_any { bias } else { bias.cast(x.dtype()) });
    if !fused() {
        return burn_linear(x, weight, bias);
    }
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        None => Dispatch::linear_map(x, weight),
        Some(bias) => Dispatch::biased_map(x, weight, bias.into_dispatch()),
    })
}
