//! SwiGLU on flex.

use burn::backend::{Flex, TensorMetadata};

use super::ops::SwiGluOps;
use super::{composed, slices};
use crate::flex::tensor::{FlexTensor, all_f32, contiguous, tensor, values};

impl SwiGluOps for Flex {
    fn fused_swiglu(gate: FlexTensor, up: FlexTensor) -> FlexTensor {
        if !all_f32([&gate, &up]) {
            return composed::swiglu::<Self>(gate, up);
        }
        let (gate, up) = (contiguous(gate), contiguous(up));
        let mut out = vec![0.0; values(&gate).len()];
        slices::swiglu(&mut out, values(&gate), values(&up));
        tensor(out, gate.shape())
    }

    fn fused_swiglu_backward(gate: FlexTensor, up: FlexTensor, upstream: FlexTensor) -> (FlexTensor, FlexTensor) {
        if !all_f32([&gate, &up, &upstream]) {
            return composed::gradients::<Self>(gate, up, upstream);
        }
        let (gate, up, upstream) = (contiguous(gate), contiguous(up), contiguous(upstream));
        let [mut for_gate, mut for_up] = [(); 2].map(|()| vec![0.0; values(&gate).len()]);
        slices::gradients([&mut for_gate, &mut for_up], values(&gate), values(&up), values(&upstream));
        (tensor(for_gate, gate.shape()), tensor(for_up, gate.shape()))
    }
}
