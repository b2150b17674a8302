//! SwiGLU on slices, one pass forward and one for each gradient.

use crate::slices::math::sigmoid;
use crate::slices::parallel::{map2, map3};

pub(super) fn swiglu(out: &mut [f32], gate: &[f32], up: &[f32]) {
    map2(
        out,
        gate,
        up,
        #[inline(always)]
        |gate, up| gate * sigmoid(gate) * up,
    );
}

/// The gradients of gate and up.
pub(super) fn gradients([for_gate, for_up]: [&mut [f32]; 2], gate: &[f32], up: &[f32], upstream: &[f32]) {
    map3(
        for_gate,
        [gate, up, upstream],
        #[inline(always)]
        |gate, up, upstream| {
            let s = sigmoid(gate);
            upstream * up * s * (1.0 + gate * (1.0 - s))
        },
    );
    map2(
        for_up,
        gate,
        upstream,
        #[inline(always)]
        |gate, upstream| upstream * gate * sigmoid(gate),
    );
}
