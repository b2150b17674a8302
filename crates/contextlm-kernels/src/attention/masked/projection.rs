//! Masked attention from a projection: one gradient for its three parts, written once.
//!
//! burn's gradient of a part is a tensor of the whole projection's size, zeros but for the part, and the three are added.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata};
use burn::tensor::{FloatDType, Shape, Slice, Tensor};

use super::{MaskedAttentionOps, Scoring};
use crate::cast::cast;
use crate::{KeyRanges, QkvOrder};

/// How queries, keys and values are taken from a projection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Split {
    pub(crate) heads: usize,
    pub(crate) order: QkvOrder,
    /// Whether queries and keys are turned by their positions.
    pub(crate) turned: bool,
}

/// [`attention_of_projection`](crate::attention_of_projection) on any backend.
pub(crate) fn attention_of_projection(
    qkv: Tensor<3>,
    heads: usize,
    order: QkvOrder,
    angles: Option<(Tensor<4>, Tensor<4>)>,
    ranges: &KeyRanges,
    scale: f64,
) -> Tensor<3> {
    let (bias, scoring) = (ranges.bias(&qkv.device()), Scoring::of(ranges, scale));
    let split = Split { heads, order, turned: angles.is_some() };
    // A stand-in where there are none: GPUs have no empty tensors.
    let (cos, sin) = angles.unwrap_or_else(|| (bias.clone(), bias.clone()));
    let [cos, sin, bias] = [cos, sin, bias].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::masked_projection(qkv.into_dispatch(), cos, sin, bias, split, scoring))
}

/// Of [B, T, 3*H*Dh], three times [B, T, H, Dh].
pub(super) fn parts<B: Backend>(qkv: FloatTensor<B>, angles: [FloatTensor<B>; 2], split: Split) -> [FloatTensor<B>; 3] {
    let [rows, length, all] = qkv.shape().dims();
    let Split { heads, order, turned } = split;
    let width = all / 3 / heads;
    let of = |last: [usize; 2]| Shape::new([rows, length, last[0], last[1]]);
    let (shape, axis, size) = match order {
        QkvOrder::Parts => (of([3 * heads, width]), 2, heads),
        QkvOrder::Heads => (of([heads, 3 * width]), 3, width),
    };
    let all = B::float_reshape(qkv, shape);
    let [q, k, v] = [0, 1, 2].map(|part| slice::<B>(&all, axis, part * size, size));
    if !turned {
        return [q, k, v];
    }
    let [q, k] = [q, k].map(|x| turn::<B>(x, angles.clone(), false));
    [q, k, v]
}

fn slice<B: Backend>(x: &FloatTensor<B>, axis: usize, start: usize, size: usize) -> FloatTensor<B> {
    let mut slices = [Slice::full(); 4];
    slices[axis] = Slice::from(start..start + size);
    B::float_slice(x.clone(), &slices)
}

/// [B, T, H, Dh], turned, or turned `back`: for tensors without elements, which there is no kernel to launch for, and on other
/// backends than GPUs, which get here in tests only.
fn turn<B: Backend>(x: FloatTensor<B>, [cos, sin]: [FloatTensor<B>; 2], back: bool) -> FloatTensor<B> {
    let ([.., width], [.., rotated]): ([usize; 4], [usize; 4]) = (x.shape().dims(), cos.shape().dims());
    let (low, half) = (FloatDType::from(x.dtype()), rotated / 2);
    if half == 0 {
        return x;
    }
    let [cos, sin] = [cos, sin].map(|angles| slice::<B>(&angles, 3, 0, half));
    let sin = if back { B::float_neg(sin) } else { sin };
    let [first, second] = [0, half].map(|start| cast::<B>(slice::<B>(&x, 3, start, half), FloatDType::F32));
    let product = |a: &FloatTensor<B>, b: &FloatTensor<B>| B::float_mul(a.clone(), b.clone());
    let turned = [
        B::float_sub(product(&first, &cos), product(&second, &sin)),
        B::float_add(product(&second, &cos), product(&first, &sin)),
    ];
    let mut all = turned.map(|x| cast::<B>(x, low)).to_vec();
    if rotated < width {
        all.push(slice::<B>(&x, 3, rotated, width - rotated));
    }
    B::float_cat(all, 3)
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
    angles: [FloatTensor<B>; 2],
    bias: FloatTensor<B>,
    [out, sums, upstream]: [FloatTensor<B>; 3],
    split: Split,
    scoring: Scoring,
) -> FloatTensor<B> {
    // Turned again, which is cheaper than to keep them.
    let [q, k, v] = parts::<B>(qkv, angles.clone(), split);
    let (mut q, mut k, v) = B::masked_attention_backward(q, k, v, bias, out, sums, upstream, scoring);
    if split.turned {
        [q, k] = [q, k].map(|x| turn::<B>(x, angles.clone(), true));
    }
    joined::<B>([q, k, v], split.order)
}
