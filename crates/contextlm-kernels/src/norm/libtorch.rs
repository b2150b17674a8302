//! The norms on LibTorch: in f32 on the CPU the passes that flex has, elsewhere PyTorch's own operations.

use burn::backend::LibTorch;
use burn::backend::ops::ModuleOps;
use tch::Tensor;

use super::ops::NormOps;
use super::{composed, slices};
use crate::libtorch::{TorchTensor, all_cpu_f32, empty_like, gradients_by_tape, one_kind, values, values_mut};

impl NormOps for LibTorch {
    fn fused_layer_norm(x: TorchTensor, weight: TorchTensor, bias: TorchTensor, eps: f64) -> TorchTensor {
        if !all_cpu_f32([&x, &weight, &bias]) {
            return <Self as ModuleOps<Self>>::layer_norm(x, weight, Some(bias), eps);
        }
        let [x, weight, bias] = [x, weight, bias].map(|x| x.tensor.contiguous());
        let mut out = empty_like(&x);
        slices::forward::<true>(values_mut(&mut out), values(&x), values(&weight), values(&bias), eps as f32);
        TorchTensor::new(out)
    }

    fn fused_layer_norm_backward(
        x: TorchTensor,
        weight: TorchTensor,
        upstream: TorchTensor,
        eps: f64,
    ) -> (TorchTensor, TorchTensor, TorchTensor) {
        if all_cpu_f32([&x, &weight, &upstream]) {
            return gradients::<true>(x, weight, upstream, eps);
        }
        if !one_kind([&x, &weight, &upstream]) {
            return composed::layer_norm_backward::<Self>(x, weight, upstream, eps);
        }
        let (width, bias) = (weight.tensor.size(), weight.tensor.zeros_like());
        let norm = |[x, weight, bias]: &[Tensor; 3]| x.layer_norm(&width, Some(weight), Some(bias), eps, true);
        let [x, weight, bias] = gradients_by_tape([&x.tensor, &weight.tensor, &bias], norm, &upstream.tensor);
        (TorchTensor::new(x), TorchTensor::new(weight), TorchTensor::new(bias))
    }

    fn fused_rms_norm(x: TorchTensor, weight: TorchTensor, eps: f64) -> TorchTensor {
        if !all_cpu_f32([&x, &weight]) {
            return match one_kind([&x, &weight]) {
                true => TorchTensor::new(x.tensor.rms_norm(weight.tensor.size(), Some(&weight.tensor), eps)),
                false => composed::rms_norm::<Self>(x, weight, eps),
            };
        }
        let [x, weight] = [x, weight].map(|x| x.tensor.contiguous());
        let mut out = empty_like(&x);
        slices::forward::<false>(values_mut(&mut out), values(&x), values(&weight), &[], eps as f32);
        TorchTensor::new(out)
    }

    fn fused_rms_norm_backward(
        x: TorchTensor,
        weight: TorchTensor,
        upstream: TorchTensor,
        eps: f64,
    ) -> (TorchTensor, TorchTensor) {
        if all_cpu_f32([&x, &weight, &upstream]) {
            let (x, weight, _) = gradients::<false>(x, weight, upstream, eps);
            return (x, weight);
        }
        if !one_kind([&x, &weight, &upstream]) {
            return composed::gradients::<Self>(x, weight, upstream, eps, false);
        }
        let width = weight.tensor.size();
        let norm = |[x, weight]: &[Tensor; 2]| x.rms_norm(&width, Some(weight), eps);
        let [x, weight] = gradients_by_tape([&x.tensor, &weight.tensor], norm, &upstream.tensor);
        (TorchTensor::new(x), TorchTensor::new(weight))
    }
}

/// Gradients of x, weight and bias.
fn gradients<const CENTRED: bool>(
    x: TorchTensor,
    weight: TorchTensor,
    upstream: TorchTensor,
    eps: f64,
) -> (TorchTensor, TorchTensor, TorchTensor) {
    let [x, weight, upstream] = [x, weight, upstream].map(|x| x.tensor.contiguous());
    let mut for_x = empty_like(&x);
    let [for_weight, for_bias] = slices::gradients::<CENTRED>(
        values_mut(&mut for_x),
        values(&x),
        values(&weight),
        values(&upstream),
        eps as f32,
    );
    let of_width = |sums: Vec<f32>| TorchTensor::new(Tensor::from_slice(&sums));
    (TorchTensor::new(for_x), of_width(for_weight), of_width(for_bias))
}
