//! Masked attention on GPUs, by operations of heads that stand in `gpu/attention.rs`, and of a single query in `gpu/one_query.rs`.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Cube, TensorMetadata};
use burn::tensor::Shape;

use super::projection::{self, Split};
use super::{MaskedAttentionOps, Scoring, by_heads, fewer_heads};
use crate::gpu::{GpuOps, one_query_has_kernel, reads};

impl MaskedAttentionOps for Cube {
    fn masked_attention_with_sums(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scoring: Scoring,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if no_scores(&q, &k) {
            return super::forward::<Self>(q, k, v, bias, scoring);
        }
        let [_, _, heads, _] = q.shape().dims();
        forward([q, k, v].map(|x| by_heads::<Self>(x, heads)), bias, scoring)
    }

    fn masked_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scoring: Scoring,
    ) -> FloatTensor<Self> {
        let ([_, queries, _, width], [_, keys, _, _]) = (q.shape().dims(), k.shape().dims());
        let one_type = reads(q.dtype()) && [&k, &v].iter().all(|x| x.dtype() == q.dtype());
        if queries == 1 && one_type && !no_scores(&q, &k) && one_query_has_kernel(width, keys) {
            return Self::gpu_one_query(q, k, v, bias, scoring.scale);
        }
        Self::masked_attention_with_sums(q, k, v, bias, scoring).0
    }

    fn masked_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        out: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        scoring: Scoring,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if no_scores(&q, &k) {
            return super::backward::<Self>([q, k, v], bias, [out, sums, upstream], scoring);
        }
        let ([_, _, heads, _], [_, _, kv_heads, _]) = (q.shape().dims(), k.shape().dims());
        let [q, k, v] = [q, k, v].map(|x| by_heads::<Self>(x, heads));
        let (for_q, for_k, for_v) = Self::gpu_attention_backward(q, k, v, bias, out, sums, upstream, scoring);
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
        scoring: Scoring,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let Split { heads, order, turned } = split;
        if !has_kernel(&qkv, &cos) {
            let [q, k, v] = projection::parts::<Self>(qkv, [cos, sin], split);
            return Self::masked_attention_with_sums(q, k, v, bias, scoring);
        }
        let (q, k, v) = Self::gpu_apart(qkv, cos, sin, heads, order, turned);
        forward([q, k, v], bias, scoring)
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
        scoring: Scoring,
    ) -> FloatTensor<Self> {
        let Split { heads, order, turned } = split;
        if !has_kernel(&qkv, &cos) {
            return projection::backward::<Self>(qkv, [cos, sin], bias, [out, sums, upstream], split, scoring);
        }
        // Taken apart again, which is cheaper than to keep the parts.
        let (q, k, v) = Self::gpu_apart(qkv, cos.clone(), sin.clone(), heads, order, turned);
        let (q, k, v) = Self::gpu_attention_backward(q, k, v, bias, out, sums, upstream, scoring);
        Self::gpu_together(q, k, v, cos, sin, order, turned)
    }
}

/// Output and sums, of q, k and v by heads, [B, H, T or S, Dh].
fn forward(
    [q, k, v]: [FloatTensor<Cube>; 3],
    bias: FloatTensor<Cube>,
    scoring: Scoring,
) -> (FloatTensor<Cube>, FloatTensor<Cube>) {
    let [rows, heads, length, width] = q.shape().dims();
    let (out, sums) = Cube::gpu_attention(q, k, v, bias, scoring);
    let out = Cube::float_swap_dims(out, 1, 2);
    (Cube::float_reshape(out, Shape::new([rows, length, heads * width])), sums)
}

/// Nothing to launch a kernel for.
fn no_scores(q: &FloatTensor<Cube>, k: &FloatTensor<Cube>) -> bool {
    q.shape().num_elements() == 0 || k.shape().num_elements() == 0
}

/// Whether the parts of a projection are taken apart by a kernel.
fn has_kernel(qkv: &FloatTensor<Cube>, cos: &FloatTensor<Cube>) -> bool {
    let any = [qkv, cos].iter().all(|tensor| tensor.shape().num_elements() > 0);
    any && reads(qkv.dtype())
}
