//! SwiGLU on LibTorch: in f32 on the CPU the passes that flex has, elsewhere PyTorch's SiLU and a product.

use burn::backend::LibTorch;

use super::ops::SwiGluOps;
use super::slices;
use crate::libtorch::{TorchTensor, all_cpu_f32, empty_like, values, values_mut};

impl SwiGluOps for LibTorch {
    fn fused_swiglu(gate: TorchTensor, up: TorchTensor) -> TorchTensor {
        if !all_cpu_f32([&gate, &up]) {
            return TorchTensor::new(gate.tensor.silu() * &up.tensor);
        }
        let (gate, up) = (gate.tensor.contiguous(), up.tensor.contiguous());
        let mut out = empty_like(&gate);
        slices::swiglu(values_mut(&mut out), values(&gate), values(&up));
        TorchTensor::new(out)
    }

    fn fused_swiglu_backward(gate: TorchTensor, up: TorchTensor, upstream: TorchTensor) -> (TorchTensor, TorchTensor) {
        if !all_cpu_f32([&gate, &up, &upstream]) {
            let (gate, up, upstream) = (gate.tensor, up.tensor, upstream.tensor);
            let for_gate = gate.silu_backward(&(&upstream * &up));
            return (TorchTensor::new(for_gate), TorchTensor::new(gate.silu() * upstream));
        }
        let [gate, up, upstream] = [gate, up, upstream].map(|x| x.tensor.contiguous());
        let [mut for_gate, mut for_up] = [(); 2].map(|()| empty_like(&gate));
        let gradients = [values_mut(&mut for_gate), values_mut(&mut for_up)];
        slices::gradients(gradients, values(&gate), values(&up), values(&upstream));
        (TorchTensor::new(for_gate), TorchTensor::new(for_up))
    }
}
