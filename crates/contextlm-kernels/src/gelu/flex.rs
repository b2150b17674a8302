//! The GELU on flex.

use burn::backend::{Flex, TensorMetadata};

use super::ops::GeluOps;
use super::{GeluKind, composed, slices};
use crate::flex::tensor::{FlexTensor, all_f32, contiguous, tensor, values};

impl GeluOps for Flex {
    fn fused_gelu(x: FlexTensor, kind: GeluKind) -> FlexTensor {
        if !all_f32([&x]) {
            return composed::gelu::<Self>(x, kind);
        }
        let x = contiguous(x);
        let mut out = vec![0.0; values(&x).len()];
        slices::gelu(&mut out, values(&x), kind);
        tensor(out, x.shape())
    }

    fn fused_gelu_backward(x: FlexTensor, upstream: FlexTensor, kind: GeluKind) -> FlexTensor {
        if !all_f32([&x, &upstream]) {
            return composed::gradient::<Self>(x, upstream, kind);
        }
        let (x, upstream) = (contiguous(x), contiguous(upstream));
        let mut gradient = vec![0.0; values(&x).len()];
        slices::gradient(&mut gradient, values(&x), values(&upstream), kind);
        tensor(gradient, x.shape())
    }
}
