//! The norms on LibTorch: on the CPU the passes that flex has, in f32 whatever the type, on GPUs PyTorch's own operations.

use burn::backend::LibTorch;
use burn::backend::ops::ModuleOps;
use tch::{Device, Kind, Tensor};

use super::ops::NormOps;
use super::{composed, slices};
use crate::libtorch::{TorchTensor, empty_like, gradients_by_tape, one_kind, script, values, values_mut};

impl NormOps for LibTorch {
    fn fused_layer_norm(x: TorchTensor, weight: TorchTensor, bias: TorchTensor, eps: f64) -> TorchTensor {
        if on_cpu(&x) && one_kind([&x, &weight, &bias]) {
            return TorchTensor::new(forward::<true>(&x.tensor, &weight.tensor, Some(&bias.tensor), eps));
        }
        <Self as ModuleOps<Self>>::layer_norm(x, weight, Some(bias), eps)
    }

    fn fused_layer_norm_with_statistics(
        x: TorchTensor,
        weight: TorchTensor,
        bias: TorchTensor,
        eps: f64,
    ) -> (TorchTensor, Option<TorchTensor>, Option<TorchTensor>) {
        if on_cpu(&x) || !one_kind([&x, &weight, &bias]) {
            return (Self::fused_layer_norm(x, weight, bias, eps), None, None);
        }
        let [out, mean, rstd] = with_statistics(&x.tensor, &weight.tensor, &bias.tensor, eps).map(TorchTensor::new);
        (out, Some(mean), Some(rstd))
    }

    fn fused_layer_norm_backward_of(
        x: TorchTensor,
        weight: TorchTensor,
        upstream: TorchTensor,
        mean: TorchTensor,
        rstd: TorchTensor,
        eps: f64,
    ) -> (TorchTensor, TorchTensor, TorchTensor) {
        match gradients_of(&x.tensor, &weight.tensor, &upstream.tensor, [&mean.tensor, &rstd.tensor]) {
            Some([x, weight, bias]) => (TorchTensor::new(x), TorchTensor::new(weight), TorchTensor::new(bias)),
            None => Self::fused_layer_norm_backward(x, weight, upstream, eps),
        }
    }

    fn fused_layer_norm_backward(
        x: TorchTensor,
        weight: TorchTensor,
        upstream: TorchTensor,
        eps: f64,
    ) -> (TorchTensor, TorchTensor, TorchTensor) {
        if !one_kind([&x, &weight, &upstream]) {
            return composed::layer_norm_backward::<Self>(x, weight, upstream, eps);
        }
        let [x, weight, bias] = match on_cpu(&x) {
            true => gradients::<true>(&x.tensor, &weight.tensor, &upstream.tensor, eps),
            false => layer_norm_gradients_by_tape(&x.tensor, &weight.tensor, &upstream.tensor, eps),
        }
        .map(TorchTensor::new);
        (x, weight, bias)
    }

    fn fused_rms_norm(x: TorchTensor, weight: TorchTensor, eps: f64) -> TorchTensor {
        if !one_kind([&x, &weight]) {
            return composed::rms_norm::<Self>(x, weight, eps);
        }
        TorchTensor::new(match on_cpu(&x) {
            true => forward::<false>(&x.tensor, &weight.tensor, None, eps),
            false => x.tensor.rms_norm(weight.tensor.size(), Some(&weight.tensor), eps),
        })
    }

    fn fused_rms_norm_backward(
        x: TorchTensor,
        weight: TorchTensor,
        upstream: TorchTensor,
        eps: f64,
    ) -> (TorchTensor, TorchTensor) {
        if !one_kind([&x, &weight, &upstream]) {
            return composed::gradients::<Self>(x, weight, upstream, eps, false);
        }
        let [x, weight] = match on_cpu(&x) {
            true => {
                let [x, weight, _] = gradients::<false>(&x.tensor, &weight.tensor, &upstream.tensor, eps);
                [x, weight]
            }
            false => rms_norm_gradients_by_tape(&x.tensor, &weight.tensor, &upstream.tensor, eps),
        }
        .map(TorchTensor::new);
        (x, weight)
    }
}

fn on_cpu(x: &TorchTensor) -> bool {
    x.tensor.device() == Device::Cpu
}

/// What the passes read: itself where it is f32 and contiguous.
fn as_f32(x: &Tensor) -> Tensor {
    x.to_kind(Kind::Float).contiguous()
}

/// The normed rows, on the CPU. `CENTRED`: layer norm; else RMS norm, which has no bias.
fn forward<const CENTRED: bool>(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Tensor {
    let kind = x.kind();
    let (x, weight, bias) = (as_f32(x), as_f32(weight), bias.map(as_f32));
    let mut out = empty_like(&x);
    let bias = bias.as_ref().map_or(&[][..], values);
    slices::forward::<CENTRED>(values_mut(&mut out), values(&x), values(&weight), bias, eps as f32);
    out.to_kind(kind)
}

/// Gradients of x, weight and bias, on the CPU.
fn gradients<const CENTRED: bool>(x: &Tensor, weight: &Tensor, upstream: &Tensor, eps: f64) -> [Tensor; 3] {
    let kind = x.kind();
    let [x, weight, upstream] = [x, weight, upstream].map(as_f32);
    let mut for_x = empty_like(&x);
    let [for_weight, for_bias] = slices::gradients::<CENTRED>(
        values_mut(&mut for_x),
        values(&x),
        values(&weight),
        values(&upstream),
        eps as f32,
    );
    [for_x, Tensor::from_slice(&for_weight), Tensor::from_slice(&for_bias)].map(|gradient| gradient.to_kind(kind))
}

/// PyTorch's layer norm: the output, mean and 1 / deviation of every row.
fn with_statistics(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> [Tensor; 3] {
    let (out, mean, rstd) = x.native_layer_norm(weight.size(), Some(weight), Some(bias), eps);
    [out, mean, rstd]
}

/// The gradients of x, weight and bias by PyTorch's operation for them.
fn gradients_of(x: &Tensor, weight: &Tensor, upstream: &Tensor, statistics: [&Tensor; 2]) -> Option<[Tensor; 3]> {
    // Of the bias it wants the shape alone.
    script::layer_norm_backward(&upstream.contiguous(), &x.contiguous(), statistics, [weight, weight])
}

fn layer_norm_gradients_by_tape(x: &Tensor, weight: &Tensor, upstream: &Tensor, eps: f64) -> [Tensor; 3] {
    let (width, bias) = (weight.size(), weight.zeros_like());
    let norm = |[x, weight, bias]: &[Tensor; 3]| x.layer_norm(&width, Some(weight), Some(bias), eps, true);
    gradients_by_tape([x, weight, &bias], norm, upstream)
}

fn rms_norm_gradients_by_tape(x: &Tensor, weight: &Tensor, upstream: &Tensor, eps: f64) -> [Tensor; 2] {
    let width = weight.size();
    gradients_by_tape([x, weight], |[x, weight]| x.rms_norm(&width, Some(weight), eps), upstream)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What runs on GPUs runs on the CPU here, beside the passes over slices.
    #[test]
    fn gradients_on_gpus_are_those_of_the_passes() {
        let wave = |shape: &[i64], phase: f64| {
            let count = shape.iter().product::<i64>();
            (Tensor::arange(count, (Kind::Float, Device::Cpu)) * 1.7 + phase).sin().reshape(shape)
        };
        for rows in [0, 1, 5] {
            let (x, weight, upstream) = (wave(&[2, rows, 33], 1.0), wave(&[33], 2.0), wave(&[2, rows, 33], 3.0));
            let bias = wave(&[33], 4.0);
            let check = |found: &[Tensor], expected: &[Tensor]| {
                for (found, expected) in found.iter().zip(expected) {
                    assert_eq!(found.size(), expected.size());
                    assert!(found.allclose(expected, 1e-4, 1e-5, false), "{rows} rows");
                }
            };
            let expected = gradients::<true>(&x, &weight, &upstream, 1e-5);
            let [out, mean, rstd] = with_statistics(&x, &weight, &bias, 1e-5);
            check(&[out], &[forward::<true>(&x, &weight, Some(&bias), 1e-5)]);
            check(&gradients_of(&x, &weight, &upstream, [&mean, &rstd]).unwrap(), &expected);
            check(&layer_norm_gradients_by_tape(&x, &weight, &upstream, 1e-5), &expected);
            let expected = gradients::<false>(&x, &weight, &upstream, 1e-5);
            check(&rms_norm_gradients_by_tape(&x, &weight, &upstream, 1e-5), &expected);
        }
    }
}
