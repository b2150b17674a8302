//! SwiGLU on flex, one pass forward and one for each gradient.

use burn::backend::{Flex, TensorMetadata};

use super::composed;
use super::ops::SwiGluOps;
use crate::flex::math::sigmoid;
use crate::flex::parallel::{map2, map3};
use crate::flex::tensor::{FlexTensor, all_f32, contiguous, tensor, values};

impl SwiGluOps for Flex {
    fn fused_swiglu(gate: FlexTensor, up: FlexTensor) -> FlexTensor {
        if !all_f32([&gate, &up]) {
            return composed::swiglu::<Self>(gate, up);
        }
        let (gate, up) = (contiguous(gate), contiguous(up));
        let out = map2(
            values(&gate),
            values(&up),
            #[inline(always)]
            |gate, up| gate * sigmoid(gate) * up,
        );
        tensor(out, gate.shape())
    }

    fn fused_swiglu_backward(gate: FlexTensor, up: FlexTensor, upstream: FlexTensor) -> (FlexTensor, FlexTensor) {
        if !all_f32([&gate, &up, &upstream]) {
            return composed::gradients::<Self>(gate, up, upstream);
        }
        let (gate, up, upstream) = (contiguous(gate), contiguous(up), contiguous(upstream));
        let for_gate = map3(
            [values(&gate), values(&up), values(&upstream)],
            #[inline(always)]
            |gate, up, upstream| {
                let s = sigmoid(gate);
                upstream * up * s * (1.0 + gate * (1.0 - s))
            },
        );
        let for_up = map2(
            values(&gate),
            values(&upstream),
            #[inline(always)]
            |gate, upstream| upstream * gate * sigmoid(gate),
        );
        (tensor(for_gate, gate.shape()), tensor(for_up, gate.shape()))
    }
}
