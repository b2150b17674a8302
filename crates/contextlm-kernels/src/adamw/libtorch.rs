//! The optimizer's step on LibTorch's CPU backend.

use burn::backend::LibTorch;
use burn::backend::tensor::FloatTensor;

use super::AdamWStep;
use super::ops::AdamWOps;
use super::update::update;
use crate::libtorch::{values, values_mut};

type TorchTensor = FloatTensor<LibTorch>;

impl AdamWOps for LibTorch {
    fn fused_adamw(
        x: TorchTensor,
        gradient: TorchTensor,
        m: TorchTensor,
        v: TorchTensor,
        step: AdamWStep,
    ) -> (TorchTensor, TorchTensor, TorchTensor) {
        let [mut x, mut m, mut v] = [x, m, v].map(owned);
        let gradient = gradient.tensor.contiguous();
        update(
            values_mut(&mut x.tensor),
            values(&gradient),
            values_mut(&mut m.tensor),
            values_mut(&mut v.tensor),
            step,
        );
        (x, m, v)
    }
}

/// A tensor that nobody else sees, its elements side by side: itself where it is that already.
fn owned(x: TorchTensor) -> TorchTensor {
    if x.can_mut() && x.tensor.is_contiguous() { x } else { TorchTensor::new(x.tensor.contiguous().copy()) }
}
