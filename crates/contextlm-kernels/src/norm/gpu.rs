//! The norms on GPUs.

use burn::backend::ops::ModuleOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;

use super::composed;
use super::ops::NormOps;
use crate::gpu::GpuOps;

/// Up to this width a unit of a plane of 32 keeps its share of a row in registers.
const WIDEST: usize = 2048;

impl NormOps for Cube {
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        match has_kernel(&x, &weight) && bias.dtype() == DType::F32 {
            true => Self::gpu_norm(x, weight, bias, eps, true),
            false => Self::layer_norm(x, weight, Some(bias), eps),
        }
    }

    fn fused_layer_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if !has_kernel(&x, &weight) || upstream.dtype() != DType::F32 {
            return composed::layer_norm_backward::<Self>(x, weight, upstream, eps);
        }
        let (for_x, for_weight, for_bias) = Self::gpu_norm_backward(x, weight, upstream, eps, true);
        (for_x, for_weight, for_bias)
    }

    fn fused_rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        match has_kernel(&x, &weight) {
            true => Self::gpu_norm(x, weight.clone(), weight, eps, false),
            false => composed::rms_norm::<Self>(x, weight, eps),
        }
    }

    fn fused_rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if !has_kernel(&x, &weight) || upstream.dtype() != DType::F32 {
            return composed::gradients::<Self>(x, weight, upstream, eps, false);
        }
        let (for_x, for_weight, _) = Self::gpu_norm_backward(x, weight, upstream, eps, false);
        (for_x, for_weight)
    }
}

fn has_kernel(x: &FloatTensor<Cube>, weight: &FloatTensor<Cube>) -> bool {
    let shape = x.shape();
    let width = shape[shape.num_dims() - 1];
    let one_type = x.dtype() == DType::F32 && weight.dtype() == DType::F32;
    one_type && (1..=WIDEST).contains(&width) && shape.num_elements() > 0
}
