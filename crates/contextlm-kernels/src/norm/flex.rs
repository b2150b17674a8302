//! The norms on flex.

use burn::backend::ops::ModuleOps;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Shape;

use super::ops::NormOps;
use super::{composed, slices};
use crate::flex::tensor::{FlexTensor, all_f32, contiguous, tensor, values};

impl NormOps for Flex {
    fn fused_layer_norm(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, eps: f64) -> FlexTensor {
        if !all_f32([&x, &weight, &bias]) {
            return <Self as ModuleOps<Self>>::layer_norm(x, weight, Some(bias), eps);
        }
        let (x, weight, bias) = (contiguous(x), contiguous(weight), contiguous(bias));
        let mut out = vec![0.0; values(&x).len()];
        slices::forward::<true>(&mut out, values(&x), values(&weight), values(&bias), eps as f32);
        tensor(out, x.shape())
    }

    fn fused_layer_norm_backward(
        x: FlexTensor,
        weight: FlexTensor,
        upstream: FlexTensor,
        eps: f64,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        if !all_f32([&x, &weight, &upstream]) {
            return composed::layer_norm_backward::<Self>(x, weight, upstream, eps);
        }
        gradients::<true>(x, weight, upstream, eps)
    }

    fn fused_rms_norm(x: FlexTensor, weight: FlexTensor, eps: f64) -> FlexTensor {
        if !all_f32([&x, &weight]) {
            return composed::rms_norm::<Self>(x, weight, eps);
        }
        let (x, weight) = (contiguous(x), contiguous(weight));
        let mut out = vec![0.0; values(&x).len()];
        slices::forward::<false>(&mut out, values(&x), values(&weight), &[], eps as f32);
        tensor(out, x.shape())
    }

    fn fused_rms_norm_backward(
        x: FlexTensor,
        weight: FlexTensor,
        upstream: FlexTensor,
        eps: f64,
    ) -> (FlexTensor, FlexTensor) {
        if !all_f32([&x, &weight, &upstream]) {
            return composed::gradients::<Self>(x, weight, upstream, eps, false);
        }
        let (for_x, for_weight, _) = gradients::<false>(x, weight, upstream, eps);
        (for_x, for_weight)
    }
}

/// Gradients of x, weight and bias.
fn gradients<const CENTRED: bool>(
    x: FlexTensor,
    weight: FlexTensor,
    upstream: FlexTensor,
    eps: f64,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let (x, weight, upstream) = (contiguous(x), contiguous(weight), contiguous(upstream));
    let mut for_x = vec![0.0; values(&x).len()];
    let of_width = slices::gradients::<CENTRED>(&mut for_x, values(&x), values(&weight), values(&upstream), eps as f32);
    let [for_weight, for_bias] = of_width.map(|sums| {
        let width = sums.len();
        tensor(sums, Shape::new([width]))
    });
    (tensor(for_x, x.shape()), for_weight, for_bias)
}
