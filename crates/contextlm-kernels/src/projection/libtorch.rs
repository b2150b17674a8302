//! Attention from a projection on LibTorch: the parts are read where they are, and there is one gradient.

use burn::backend::LibTorch;
use tch::Tensor;

use super::QkvOrder;
use super::ops::ProjectionOps;
use crate::KeyRanges;
use crate::attention::libtorch::Inputs;
use crate::libtorch::TorchTensor;

/// Where the three parts are told apart in [B, T, 3, H, Dh] or [B, T, H, 3, Dh].
fn axis(order: QkvOrder) -> i64 {
    match order {
        QkvOrder::Parts => 2,
        QkvOrder::Heads => 3,
    }
}

/// Attention of the parts of [B, T, 3*H*Dh].
fn inputs(qkv: &Tensor, heads: i64, order: QkvOrder, ranges: &KeyRanges, scale: f64) -> Inputs {
    let size = qkv.size();
    let (rows, length, width) = (size[0], size[1], size[2] / 3 / heads);
    let all = match order {
        QkvOrder::Parts => qkv.reshape([rows, length, 3, heads, width]),
        QkvOrder::Heads => qkv.reshape([rows, length, heads, 3, width]),
    };
    let [q, k, v] = [0, 1, 2].map(|part| all.select(axis(order), part));
    Inputs::new(&q, &k, &v, ranges, scale)
}

/// Nothing is turned here: with angles, [`attention_of_projection`](super::attention_of_projection) takes the parts apart.
impl ProjectionOps for LibTorch {
    fn fused_projection_with_sums(
        qkv: TorchTensor,
        _cos: TorchTensor,
        _sin: TorchTensor,
        heads: usize,
        order: QkvOrder,
        ranges: KeyRanges,
        scale: f64,
    ) -> (TorchTensor, TorchTensor) {
        let (out, sums) = inputs(&qkv.tensor, heads as i64, order, &ranges, scale).forward();
        (TorchTensor::new(out), TorchTensor::new(sums))
    }

    fn fused_projection_backward(
        qkv: TorchTensor,
        _cos: TorchTensor,
        _sin: TorchTensor,
        out: TorchTensor,
        sums: TorchTensor,
        upstream: TorchTensor,
        order: QkvOrder,
        ranges: KeyRanges,
        scale: f64,
    ) -> TorchTensor {
        let heads = sums.tensor.size()[2];
        let inputs = inputs(&qkv.tensor, heads, order, &ranges, scale);
        let gradients = inputs.backward(&out.tensor, &sums.tensor, &upstream.tensor);
        TorchTensor::new(Tensor::stack(&gradients, axis(order)).reshape(qkv.tensor.size()))
    }
}
