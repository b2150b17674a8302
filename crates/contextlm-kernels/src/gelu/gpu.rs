//! The GELU on GPUs: the exact one in bf16 and f16 by a kernel, all others of operations that fusion makes a kernel of, with what
//! stands before and behind them.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;

use super::ops::GeluOps;
use super::{GeluKind, composed};
use crate::gpu::GpuOps;

impl GeluOps for Cube {
    fn fused_gelu(x: FloatTensor<Self>, kind: GeluKind) -> FloatTensor<Self> {
        match kind == GeluKind::Exact && has_kernel(&x) {
            true => Self::gpu_gelu(x),
            false => composed::gelu::<Self>(x, kind),
        }
    }

    fn fused_gelu_backward(x: FloatTensor<Self>, upstream: FloatTensor<Self>, kind: GeluKind) -> FloatTensor<Self> {
        match kind == GeluKind::Exact && has_kernel(&x) && upstream.dtype() == x.dtype() {
            true => Self::gpu_gelu_backward(x, upstream),
            false => composed::gradient::<Self>(x, upstream, kind),
        }
    }
}

fn has_kernel(x: &FloatTensor<Cube>) -> bool {
    x.shape().num_elements() > 0 && matches!(x.dtype(), DType::BF16 | DType::F16)
}
