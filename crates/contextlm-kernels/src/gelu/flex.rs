//! The GELU on flex, one pass each way.

use burn::backend::{Flex, TensorMetadata};

use super::ops::GeluOps;
use super::{GeluKind, composed};
use crate::flex::math::{normal, sigmoid};
use crate::flex::parallel::{map, map2};
use crate::flex::tensor::{FlexTensor, all_f32, contiguous, tensor, values};

impl GeluOps for Flex {
    fn fused_gelu(x: FlexTensor, kind: GeluKind) -> FlexTensor {
        if !all_f32([&x]) {
            return composed::gelu::<Self>(x, kind);
        }
        let x = contiguous(x);
        let y = match kind {
            GeluKind::Exact => map(
                values(&x),
                #[inline(always)]
                |x| x * normal(x).0,
            ),
            GeluKind::Tanh => map(
                values(&x),
                #[inline(always)]
                |x| x * tanh_cdf(x),
            ),
        };
        tensor(y, x.shape())
    }

    fn fused_gelu_backward(x: FlexTensor, upstream: FlexTensor, kind: GeluKind) -> FlexTensor {
        if !all_f32([&x, &upstream]) {
            return composed::gradient::<Self>(x, upstream, kind);
        }
        let (x, upstream) = (contiguous(x), contiguous(upstream));
        let gradient = match kind {
            GeluKind::Exact => map2(
                values(&x),
                values(&upstream),
                #[inline(always)]
                |x, upstream| {
                    const DENSITY: f32 = 0.398_942_3; // 1 / sqrt(2 pi)
                    let (cdf, bell) = normal(x);
                    upstream * (cdf + x * bell * DENSITY)
                },
            ),
            GeluKind::Tanh => map2(
                values(&x),
                values(&upstream),
                #[inline(always)]
                |x, upstream| {
                    let s = tanh_cdf(x);
                    let inner = TWICE_ROOT * (1.0 + 3.0 * CUBE * x * x);
                    upstream * (s + x * s * (1.0 - s) * inner)
                },
            ),
        };
        tensor(gradient, x.shape())
    }
}

const TWICE_ROOT: f32 = 1.595_769; // 2 sqrt(2 / pi)
const CUBE: f32 = composed::CUBE as f32;

/// (1 + tanh(u)) / 2 = sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3).
#[inline(always)]
fn tanh_cdf(x: f32) -> f32 {
    sigmoid(TWICE_ROOT * x * (1.0 + CUBE * x * x))
}
