//! The GELU on LibTorch: in f32 on the CPU the pass that flex has, elsewhere PyTorch's own operations.

use burn::backend::LibTorch;

use super::ops::GeluOps;
use super::{GeluKind, slices};
use crate::libtorch::{TorchTensor, all_cpu_f32, empty_like, values, values_mut};

impl GeluOps for LibTorch {
    fn fused_gelu(x: TorchTensor, kind: GeluKind) -> TorchTensor {
        if !all_cpu_f32([&x]) {
            return TorchTensor::new(x.tensor.gelu(as_torch(kind)));
        }
        let x = x.tensor.contiguous();
        let mut out = empty_like(&x);
        slices::gelu(values_mut(&mut out), values(&x), kind);
        TorchTensor::new(out)
    }

    fn fused_gelu_backward(x: TorchTensor, upstream: TorchTensor, kind: GeluKind) -> TorchTensor {
        if !all_cpu_f32([&x, &upstream]) {
            return TorchTensor::new(x.tensor.gelu_backward(&upstream.tensor, as_torch(kind)));
        }
        let (x, upstream) = (x.tensor.contiguous(), upstream.tensor.contiguous());
        let mut gradient = empty_like(&x);
        slices::gradient(values_mut(&mut gradient), values(&x), values(&upstream), kind);
        TorchTensor::new(gradient)
    }
}

fn as_torch(kind: GeluKind) -> &'static str {
    match kind {
        GeluKind::Exact => "none",
        GeluKind::Tanh => "tanh",
    }
}
