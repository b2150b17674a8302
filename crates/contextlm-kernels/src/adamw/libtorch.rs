//! The optimizer's step on LibTorch: on the CPU the pass that flex has, elsewhere PyTorch's fused one.

use burn::backend::LibTorch;
use tch::Device;

use super::AdamWStep;
use super::libtorch_cuda::{Update, add};
use super::ops::AdamWOps;
use super::update::update;
use crate::libtorch::{TorchTensor, owned, values, values_mut};

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
        if x.tensor.device() == Device::Cpu {
            update(
                values_mut(&mut x.tensor),
                values(&gradient),
                values_mut(&mut m.tensor),
                values_mut(&mut v.tensor),
                step,
            );
        } else {
            let [x, m, v] = [&x, &m, &v].map(|tensor| tensor.tensor.shallow_clone());
            add(Update { x, gradient, m, v, step });
        }
        (x, m, v)
    }
}
