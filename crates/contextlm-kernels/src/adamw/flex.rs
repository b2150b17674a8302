//! The optimizer's step on flex.

use burn::backend::Flex;

use super::AdamWStep;
use super::ops::AdamWOps;
use super::update::update;
use crate::flex::tensor::{FlexTensor, contiguous, values};

impl AdamWOps for Flex {
    fn fused_adamw(
        x: FlexTensor,
        gradient: FlexTensor,
        m: FlexTensor,
        v: FlexTensor,
        step: AdamWStep,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        // Whole buffers, so that the storage is the tensor.
        let [mut x, mut m, mut v] = [x, m, v].map(|tensor| tensor.to_contiguous());
        let gradient = contiguous(gradient);
        update(x.storage_mut(), values(&gradient), m.storage_mut(), v.storage_mut(), step);
        (x, m, v)
    }
}
