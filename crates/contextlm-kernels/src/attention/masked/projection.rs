//! Masked attention from a projection: one gradient for its three parts, written once.
//!
//! burn's gradient of a part is a tensor of the whole projection's size, zeros but for the part, and the three are added.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata};
use burn::tensor::{Shape, Slice, Tensor};

use super::MaskedAttentionOps;
use crate::{KeyRanges, QkvOrder};

/// [`attention_of_projection`](crate::attention_of_projection) on any backend.
pub(crate) fn attention_of_projection(
    qkv: Tensor<3>,
    heads: usize,
    order: QkvOrder,
    ranges: &KeyRanges,
    scale: f64,
) -> Tensor<3> {
    let [qkv, bias] = [qkv.clone().into_dispatch(), ranges.bias(&qkv.device()).into_dispatch()];
    Tensor::from_dispatch(Dispatch::masked_projection(qkv, bias, heads, order, scale))
}

/// Of [B, T, 3*H*Dh], three times [B, T, H, Dh].
pub(super) fn parts<B: Backend>(qkv: FloatTensor<B>, heads: usize, order: QkvOrder) -> [FloatTensor<B>; 3] {
    let [rows, length, all] = qkv.shape().dims();
    let width = all / 3 / heads;
    let of = |last: [usize; 2]| Shape::new([rows, length, last[0], last[1]]);
    let (shape, axis, size) = match order {
        QkvOrder::Parts => (of([3 * heads, width]), 2, heads),
        QkvOrder::Heads => (of([heads, 3 * width]), 3, width),
    };
    let all = B::float_reshape(qkv, shape);
    [0, 1, 2].map(|part| {
        let mut slices = [Slice::full(); 4];
        slices[axis] = Slice::from(part * size..(part + 1) * size);
        B::float_slice(all.clone(), &slices)
    })
}

/// The reverse.
fn joined<B: Backend>(parts: [FloatTensor<B>; 3], order: QkvOrder) -> FloatTensor<B> {
    let [rows, length, heads, width] = parts[0].shape().dims();
    let axis = match order {
        QkvOrder::Parts => 2,
        QkvOrder::Heads => 3,
    };
    B::float_reshape(B::float_cat(parts.to_vec(), axis), Shape::new([rows, length, 3 * heads * width]))
}

/// The gradient of the projection.
pub(super) fn backward<B: Backend + MaskedAttentionOps>(
    qkv: FloatTensor<B>,
    bias: FloatTensor<B>,
    [out, sums, upstream]: [FloatTensor<B>; 3],
    order: QkvOrder,
    scale: f64,
) -> FloatTensor<B> {
    let [_, heads, _, _] = sums.shape().dims();
    let [q, k, v] = parts::<B>(qkv, heads, order);
    let (q, k, v) = B::masked_attention_backward(q, k, v, bias, out, sums, upstream, scale);
    joined::<B>([q, k, v], order)
}
