//! Linear maps with weights of 8 bits.

mod backward;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod groups;
mod ops;

use burn::backend::Dispatch;
use burn::tensor::quantization::{QuantScheme, QuantStore, QuantValue, ScaleDtype};
use burn::tensor::{DType, Tensor};
use ops::Int8Ops;

/// Weights of a linear map in 8 bits: in groups of 64 inputs (32 or 16 where 64 does not divide their number), each with a
/// scale of its own, the largest weight of the group being 127. `None` where 16 does not divide the inputs, or they are
/// not f32 in two dimensions.
///
/// # Shapes
/// [outputs, inputs] as PyTorch stores them, and as an LM head [V, D] is; a map of burn's has to be transposed
pub fn quantize_int8<const D: usize>(weight: Tensor<D>) -> Option<Tensor<D>> {
    let dims = weight.dims();
    let &[outputs, inputs] = dims.as_slice() else { return None };
    let group = [64u8, 32, 16].into_iter().find(|&group| inputs.is_multiple_of(group.into()))?;
    if outputs == 0 || inputs == 0 || weight.dtype() != DType::F32 {
        return None;
    }
    let scheme = QuantScheme::default()
        .with_value(QuantValue::Q8S)
        .with_store(QuantStore::Native)
        .per_block([group], ScaleDtype::F32);
    Some(weight.quantize_dynamic(&scheme))
}

/// A linear map with weights of [`quantize_int8`], `x W^T + b`. x, b and all arithmetic are in f32.
///
/// On flex, a map of few rows reads every weight once, a byte each, on all threads. With more rows, and elsewhere, the
/// weights become f32 first. There is no gradient of the weights.
///
/// # Shapes
/// `[..., inputs]` with W [outputs, inputs] and b `[outputs]` to `[..., outputs]`
///
/// # Panics
/// If the shapes or types do not fit together.
pub fn linear_int8<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let ([outputs, inputs], width) = (weight.dims(), x.dims()[D - 1]);
    assert!(matches!(weight.dtype(), DType::QFloat(_)), "the weight is of {:?}, not quantized", weight.dtype());
    assert_eq!(width, inputs, "x has width {width}, weight has {inputs} inputs: they must be equal");
    assert_eq!(x.dtype(), DType::F32, "x must be f32");
    if let Some([biases]) = bias.as_ref().map(Tensor::dims) {
        assert_eq!(biases, outputs, "bias has {biases} elements, weight has {outputs} outputs: they must be equal");
    }
    let product = Tensor::<D>::from_dispatch(Dispatch::int8_map(x.into_dispatch(), weight.into_dispatch()));
    match bias {
        None => product,
        Some(bias) => product + bias.unsqueeze(),
    }
}
