//! Masked attention on GPUs: scores are read once before they are multiplied with the values, and once in the backward pass.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Cube, TensorMetadata};
use burn::tensor::{FloatDType, Shape};

use super::{MaskedAttentionOps, by_heads, fewer_heads};
use crate::cast::cast;
use crate::gpu::GpuOps;

impl MaskedAttentionOps for Cube {
    fn masked_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        Self::masked_attention_with_sums(q, k, v, bias, scale).0
    }

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
        let [rows, length, heads, width] = q.shape().dims();
        let [q, k, v] = [q, k, v].map(|x| by_heads::<Self>(x, heads));
        let scores = Self::gpu_product(q, Self::float_swap_dims(k, 2, 3));
        let (p, sums) = Self::gpu_softmax(scores, bias, scale);
        let out = Self::float_swap_dims(Self::gpu_product(p, v), 1, 2);
        (Self::float_reshape(out, Shape::new([rows, length, heads * width])), sums)
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
        let ([rows, length, heads, width], [_, _, kv_heads, _]) = (q.shape().dims(), k.shape().dims());
        let of_heads = |x: FloatTensor<Self>| {
            by_heads::<Self>(Self::float_reshape(x, Shape::new([rows, length, heads, width])), heads)
        };
        let (out, upstream) = (of_heads(out), of_heads(upstream));
        let [q, k] = [q, k].map(|x| Self::gpu_factor(by_heads::<Self>(x, heads)));
        let v = by_heads::<Self>(v, heads);
        let upstream = Self::gpu_factor(upstream);
        let both = Self::float_mul(cast::<Self>(upstream.clone(), FloatDType::F32), cast::<Self>(out, FloatDType::F32));
        let along = Self::float_sum_dim(both, 3); // [B, H, T, 1]
        let scores = Self::gpu_product(q.clone(), Self::float_swap_dims(k.clone(), 2, 3));
        let for_p = Self::gpu_product(upstream.clone(), Self::float_swap_dims(v, 2, 3));
        let (p, for_scores) = Self::gpu_softmax_backward(scores, bias, sums, along, for_p, scale);
        let for_v = Self::gpu_product(Self::float_swap_dims(p, 2, 3), upstream); // [B, H, S, Dh]
        let for_k = Self::gpu_product(Self::float_swap_dims(for_scores.clone(), 2, 3), q);
        let for_q = Self::gpu_product(for_scores, k);
        let back = |x: FloatTensor<Self>| Self::float_swap_dims(x, 1, 2);
        let fewer = |x: FloatTensor<Self>| back(fewer_heads::<Self>(x, kv_heads));
        (back(for_q), fewer(for_k), fewer(for_v))
    }
}

/// Nothing to launch a kernel for.
fn no_scores(q: &FloatTensor<Cube>, k: &FloatTensor<Cube>) -> bool {
    q.shape().num_elements() == 0 || k.shape().num_elements() == 0
}
