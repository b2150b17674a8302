//! Parameters in bf16 or f16. Matrix products are of their type, and so is what stands between those of one attention or
//! one MLP; the states that blocks add to, norms, softmax, rotary angles and pooling, where rounding would hurt, are f32.

use burn::nn::Linear;
use burn::tensor::{DType, Tensor};
use contextlm_kernels::{linear, linear_int8, on_flex};

/// The tensor in this type: itself where it has it already.
pub fn cast<const R: usize>(x: Tensor<R>, dtype: DType) -> Tensor<R> {
    if x.dtype() == dtype { x } else { x.cast(dtype) }
}

/// Computes in f32 what would suffer from rounding on the way, and gives it in the type of `x`.
pub fn in_f32<const R: usize, const S: usize>(x: Tensor<R>, compute: impl FnOnce(Tensor<R>) -> Tensor<S>) -> Tensor<S> {
    let dtype = x.dtype();
    cast(compute(cast(x, DType::F32)), dtype)
}

/// `x W + b` in the type of W, whatever that of the bias is; in f32 with weights of 8 bits ([`quantize_int8`], which has them
/// transposed).
///
/// [`quantize_int8`]: contextlm_kernels::quantize_int8
///
/// # Shapes
/// `[..., inputs]` to `[..., outputs]`
pub fn apply<const R: usize>(map: &Linear, x: Tensor<R>) -> Tensor<R> {
    let weight = map.weight.val();
    let dtype = weight.dtype();
    if matches!(dtype, DType::QFloat(_)) {
        return linear_int8(cast(x, DType::F32), weight, map.bias.as_ref().map(|bias| bias.val()));
    }
    linear(cast(x, dtype), weight, map.bias.as_ref().map(|bias| bias.val()))
}

/// Whether `x W` in f32 is x to the last bit where W is the identity. Elsewhere products may round what they are given:
/// lower types do, and so may GPUs.
pub fn keeps_bits(weight: &Tensor<2>) -> bool {
    weight.dtype() == DType::F32 && on_flex(weight)
}

/// `x W` in the type of W, given in that of `x`.
///
/// # Shapes
/// `[..., inputs]` with W [inputs, outputs] to `[..., outputs]`
pub fn product<const R: usize>(x: Tensor<R>, weight: Tensor<2>) -> Tensor<R> {
    let dtype = x.dtype();
    cast(linear(cast(x, weight.dtype()), weight, None), dtype)
}
