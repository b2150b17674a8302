//! Attention from a projection on LibTorch: the parts are read and turned where they are, and there is one gradient.

use burn::backend::LibTorch;
use tch::Tensor;

use super::QkvOrder;
use super::ops::ProjectionOps;
use super::turned::TurnedProjectionOps;
use crate::KeyRanges;
use crate::attention::libtorch::Inputs;
use crate::libtorch::{TorchTensor, owned};
use crate::rotary::libtorch::turn;

/// Where the three parts are told apart in [B, T, 3, H, Dh] or [B, T, H, 3, Dh].
fn axis(order: QkvOrder) -> i64 {
    match order {
        QkvOrder::Parts => 2,
        QkvOrder::Heads => 3,
    }
}

/// [B, T, 3*H*Dh] in one of these shapes.
fn split(qkv: &Tensor, heads: i64, order: QkvOrder) -> Tensor {
    let size = qkv.size();
    let (rows, length, width) = (size[0], size[1], size[2] / 3 / heads);
    match order {
        QkvOrder::Parts => qkv.reshape([rows, length, 3, heads, width]),
        QkvOrder::Heads => qkv.reshape([rows, length, heads, 3, width]),
    }
}

/// Attention of the parts of [B, T, 3*H*Dh].
fn inputs(qkv: &Tensor, heads: i64, order: QkvOrder, ranges: &KeyRanges, scale: f64) -> Inputs {
    let all = split(qkv, heads, order);
    let [q, k, v] = [0, 1, 2].map(|part| all.select(axis(order), part));
    Inputs::new(&q, &k, &v, ranges, scale)
}

/// Three parts [B, T, H, Dh] as [B, T, 3*H*Dh]: with few dimensions, of which PyTorch copies all three in one launch.
fn joined(parts: [Tensor; 3], order: QkvOrder) -> Tensor {
    let size = parts[0].size();
    let (rows, length, heads, width) = (size[0], size[1], size[2], size[3]);
    let (shape, dimension): (&[i64], _) = match order {
        QkvOrder::Parts => (&[rows * length, heads * width], 1),
        QkvOrder::Heads => (&[rows * length, heads, width], 2),
    };
    let parts = parts.map(|part| part.reshape(shape));
    Tensor::cat(&parts, dimension).reshape([rows, length, 3 * heads * width])
}

impl TurnedProjectionOps for LibTorch {
    fn turned_projection(
        qkv: TorchTensor,
        cos: TorchTensor,
        sin: TorchTensor,
        heads: usize,
        order: QkvOrder,
        back: bool,
    ) -> TorchTensor {
        let qkv = owned(qkv);
        // Queries and keys together, and angles that fit both: [B, T, 2, H, R] or [B, T, H, 2, R].
        let rotated = cos.tensor.size()[3];
        let turns = split(&qkv.tensor, heads as i64, order).narrow(axis(order), 0, 2).narrow(4, 0, rotated);
        let [cos, sin] = [cos, sin].map(|angle| angle.tensor.unsqueeze(2));
        turn(&turns, &turns, &cos, &sin, back);
        qkv
    }
}

/// Nothing is turned here: with angles, [`attention_of_projection`](super::attention_of_projection) turns the projection before.
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
        TorchTensor::new(joined(inputs.backward(&out.tensor, &sums.tensor, &upstream.tensor), order))
    }
}
