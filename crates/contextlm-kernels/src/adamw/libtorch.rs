//! The optimizer's step on LibTorch: on the CPU the pass that flex has, elsewhere PyTorch's operations in place.

use burn::backend::LibTorch;
use tch::{Device, Tensor};

use super::AdamWStep;
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
        if x.tensor.device() == Device::Cpu {
            let gradient = gradient.tensor.contiguous();
            update(
                values_mut(&mut x.tensor),
                values(&gradient),
                values_mut(&mut m.tensor),
                values_mut(&mut v.tensor),
                step,
            );
        } else {
            in_place(&mut x.tensor, &gradient.tensor, &mut m.tensor, &mut v.tensor, step);
        }
        (x, m, v)
    }
}

/// The step by operations that write where they read, with two tensors beside them, none of which waits for the device.
///
/// What the update `lr (m / left_1) / (sqrt(v / left_2) + eps)` is scaled by goes into its denominator, which is narrower work
/// than a pass over the quotient: `-m / (a sqrt(v) + b)` with a = left_1 / (lr sqrt(left_2)) and b = left_1 eps / lr.
fn in_place(x: &mut Tensor, gradient: &Tensor, m: &mut Tensor, v: &mut Tensor, step: AdamWStep) {
    let AdamWStep { lr, beta_1, beta_2, eps, weight_decay, time } = step;
    let [left_1, left_2] = [beta_1, beta_2].map(|beta| 1.0 - f64::from(beta).powi(time as i32));
    let _ = m.lerp_(gradient, 1.0 - f64::from(beta_1));
    let _ = v.lerp_(&gradient.square(), 1.0 - f64::from(beta_2));
    if weight_decay != 0.0 {
        let _ = x.g_mul_scalar_(1.0 - lr * f64::from(weight_decay));
    }
    if lr != 0.0 {
        let mut denominator = v.sqrt();
        let _ = denominator.g_mul_scalar_(-left_1 / (lr * left_2.sqrt()));
        let _ = denominator.g_add_scalar_(-left_1 * f64::from(eps) / lr);
        let _ = x.addcdiv_(m, &denominator);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What runs on GPUs runs on the CPU here, beside the pass over slices.
    #[test]
    fn in_place_it_is_the_same() {
        let start = |seed: f64| (Tensor::arange(1001, (tch::Kind::Float, Device::Cpu)) * 1.7 + seed).sin();
        for (lr, weight_decay) in [(0.02, 0.25), (0.02, 0.0), (0.0, 0.25)] {
            let run = |in_slices: bool| {
                let (mut x, mut m, mut v) = (start(1.0), start(2.0) * 0.1, start(3.0).square());
                for time in 1..4 {
                    let step = AdamWStep { lr, beta_1: 0.9, beta_2: 0.95, eps: 1e-3, weight_decay, time };
                    let gradient = start(3.0 + time as f64);
                    match in_slices {
                        true => {
                            update(values_mut(&mut x), values(&gradient), values_mut(&mut m), values_mut(&mut v), step)
                        }
                        false => in_place(&mut x, &gradient, &mut m, &mut v, step),
                    }
                }
                Tensor::stack(&[x, m, v], 0)
            };
            let (found, expected) = (run(false), run(true));
            assert!(found.allclose(&expected, 1e-5, 1e-6, false), "lr {lr}, decay {weight_decay}");
        }
    }
}
