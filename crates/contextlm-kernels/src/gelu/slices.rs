//! The GELU on slices, one pass each way.

use super::{GeluKind, composed};
use crate::slices::math::{normal, sigmoid};
use crate::slices::parallel::{map, map2};

pub(super) fn gelu(out: &mut [f32], x: &[f32], kind: GeluKind) {
    match kind {
        GeluKind::Exact => map(
            out,
            x,
            #[inline(always)]
            |x| x * normal(x).0,
        ),
        GeluKind::Tanh => map(
            out,
            x,
            #[inline(always)]
            |x| x * tanh_cdf(x),
        ),
    }
}

/// `upstream` times the derivative at x.
pub(super) fn gradient(out: &mut [f32], x: &[f32], upstream: &[f32], kind: GeluKind) {
    match kind {
        GeluKind::Exact => map2(
            out,
            x,
            upstream,
            #[inline(always)]
            |x, upstream| {
                const DENSITY: f32 = 0.398_942_3; // 1 / sqrt(2 pi)
                let (cdf, bell) = normal(x);
                upstream * (cdf + x * bell * DENSITY)
            },
        ),
        GeluKind::Tanh => map2(
            out,
            x,
            upstream,
            #[inline(always)]
            |x, upstream| {
                let s = tanh_cdf(x);
                let inner = TWICE_ROOT * (1.0 + 3.0 * CUBE * x * x);
                upstream * (s + x * s * (1.0 - s) * inner)
            },
        ),
    }
}

const TWICE_ROOT: f32 = 1.595_769; // 2 sqrt(2 / pi)
const CUBE: f32 = composed::CUBE as f32;

/// (1 + tanh(u)) / 2 = sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3).
#[inline(always)]
fn tanh_cdf(x: f32) -> f32 {
    sigmoid(TWICE_ROOT * x * (1.0 + CUBE * x * x))
}
