//! Masked attention on GPUs: scores are read once before they are multiplied with the values, and once in the backward pass.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Cube, TensorMetadata};
use burn::tensor::{DType, Shape};

use super::projection::{self, Split};
use super::{MaskedAttentionOps, by_heads, fewer_heads};
use crate::gpu::GpuOps;

impl MaskedAttentionOps for Cube {
    fn masked_attention_with_sums(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if no_scores(&q, &k) {
            return super::forward::<Self>(q, k, v, bias, scale);
        }
        let [_, _, heads, _] = q.shape().dims();
        forward([q, k, v].map(|x| by_heads::<Self>(x, heads)), bias, scale)
    }

    fn masked_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        Self::masked_attention_with_sums(q, k, v, bias, scale).0
    }

    fn masked_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        out: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if no_scores(&q, &k) {
            return super::backward::<Self>([q, k, v], bias, [out, sums, upstream], scale);
        }
        let ([_, _, heads, _], [_, _, kv_heads, _]) = (q.shape().dims(), k.shape().dims());
        let [q, k] = [q, k].map(|x| Self::gpu_factor(by_heads::<Self>(x, heads)));
        let v = by_heads::<Self>(v, heads);
        let [for_q, for_k, for_v] = backward([q, k, v], bias, [out, sums, upstream], scale);
        let back = |x: FloatTensor<Self>| Self::float_swap_dims(x, 1, 2);
        let fewer = |x: FloatTensor<Self>| back(fewer_heads::<Self>(x, kv_heads));
        (back(for_q), fewer(for_k), fewer(for_v))
    }

    fn masked_projection_with_sums(
        qkv: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        split: Split,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let Split { heads, order, turned } = split;
        if !has_kernel(&qkv, &cos) {
            let [q, k, v] = projection::parts::<Self>(qkv, [cos, sin], split);
            return Self::masked_attention_with_sums(q, k, v, bias, scale);
        }
        let (q, k, v) = Self::gpu_apart(qkv, cos, sin, heads, order, turned);
        forward([q, k, v], bias, scale)
    }

    fn masked_projection_backward(
        qkv: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        out: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        split: Split,
        scale: f64,
    ) -> FloatTensor<Self> {
        let Split { heads, order, turned } = split;
        if !has_kernel(&qkv, &cos) {
            return projection::backward::<Self>(qkv, [cos, sin], bias, [out, sums, upstream], split, scale);
        }
        // Taken apart again, which is cheaper than to keep the parts.
        let (q, k, v) = Self::gpu_apart(qkv, cos.clone(), sin.clone(), heads, order, turned);
        let [q, k, v] = backward([q, k, v], bias, [out, sums, upstream], scale);
        Self::gpu_together(q, k, v, cos, sin, order, turned)
    }
}

/// Output and sums, of q, k and v by heads, [B, H, T or S, Dh].
fn forward(
    [q, k, v]: [FloatTensor<Cube>; 3],
    bias: FloatTensor<Cube>,
    scale: f64,
) -> (FloatTensor<Cube>, FloatTensor<Cube>) {
    let [rows, heads, length, width] = q.shape().dims();
    let scores = Cube::gpu_product(q, Cube::float_swap_dims(k, 2, 3));
    let (p, sums) = Cube::gpu_softmax(scores, bias, scale);
    let out = Cube::float_swap_dims(Cube::gpu_product(p, v), 1, 2);
    (Cube::float_reshape(out, Shape::new([rows, length, heads * width])), sums)
}

/// Gradients of q, k and v by heads.
fn backward(
    [q, k, v]: [FloatTensor<Cube>; 3],
    bias: FloatTensor<Cube>,
    [out, sums, upstream]: [FloatTensor<Cube>; 3],
    scale: f64,
) -> [FloatTensor<Cube>; 3] {
    let [rows, heads, length, width] = q.shape().dims();
    let along = Cube::gpu_along(upstream.clone(), out, heads); // [B, H, T, 1]
    let upstream = Cube::float_reshape(upstream, Shape::new([rows, length, heads, width]));
    let upstream = Cube::gpu_factor(Cube::float_swap_dims(upstream, 1, 2));
    let scores = Cube::gpu_product(q.clone(), Cube::float_swap_dims(k.clone(), 2, 3));
    let for_p = Cube::gpu_product(upstream.clone(), Cube::float_swap_dims(v, 2, 3));
    let (p, for_scores) = Cube::gpu_softmax_backward(scores, bias, sums, along, for_p, scale);
    let for_v = Cube::gpu_product(Cube::float_swap_dims(p, 2, 3), upstream); // [B, H, S, Dh]
    let for_k = Cube::gpu_product(Cube::float_swap_dims(for_scores.clone(), 2, 3), q);
    [Cube::gpu_product(for_scores, k), for_k, for_v]
}

/// Nothing to launch a kernel for.
fn no_scores(q: &FloatTensor<Cube>, k: &FloatTensor<Cube>) -> bool {
    q.shape().num_elements() == 0 || k.shape().num_elements() == 0
}

/// Whether the parts of a projection are taken apart by a kernel.
fn has_kernel(qkv: &FloatTensor<Cube>, cos: &FloatTensor<Cube>) -> bool {
    let any = [qkv, cos].iter().all(|tensor| tensor.shape().num_elements() > 0);
    any && matches!(qkv.dtype(), DType::F32 | DType::BF16 | DType::F16)
}
