//! Attention of burn's own operations with a backward of its own: nothing of the size of the scores is kept between the two.
//!
//! Left to itself, burn keeps four tensors [B, H, T, S] a layer for the backward pass. Here the backward pass makes the
//! probabilities again from queries, keys and one number a query.

mod backward;
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
mod gpu;
mod projection;

use burn::backend::Dispatch;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata, backend_extension};
use burn::tensor::{FloatDType, Shape, Tensor};

use projection::Split;
pub(crate) use projection::attention_of_projection;

use super::KeyRanges;
use crate::cast::cast;

/// [`attention`](super::attention()) on any backend.
pub(super) fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, ranges: &KeyRanges, scale: f64) -> Tensor<3> {
    let (bias, scoring) = (ranges.bias(&q.device()), Scoring::of(ranges, scale));
    let [q, k, v, bias] = [q, k, v, bias].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::masked_attention(q, k, v, bias, scoring))
}

/// How products of queries and keys become scores, beside the bias.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code)] // without a GPU
pub(crate) struct Scoring {
    /// What they are multiplied by.
    pub(crate) scale: f64,
    /// Whether there are as many queries as keys and the bias masks all keys behind a query's own, and no others.
    pub(crate) causal: bool,
}

impl Scoring {
    fn of(ranges: &KeyRanges, scale: f64) -> Self {
        Self { scale, causal: ranges.all_before() }
    }
}

/// The operation, its forward for the tape, and its backward.
///
/// Shapes: q [B, T, H, Dh]; k, v [B, S, G, Dh]; bias [B or 1, 1, T, S], f32; out, upstream [B, T, H*Dh]; sums, the logarithm of
/// every softmax's sum, [B, H, T, 1], f32.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu")),
    Autodiff
)]
#[allow(unused_variables)] // without a backend
pub(crate) trait MaskedAttentionOps: Backend {
    fn masked_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scoring: Scoring,
    ) -> FloatTensor<Self> {
        forward::<Self>(q, k, v, bias, scoring).0
    }

    /// Output and sums.
    fn masked_attention_with_sums(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scoring: Scoring,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        forward::<Self>(q, k, v, bias, scoring)
    }

    /// Gradients of q, k and v.
    #[allow(clippy::too_many_arguments, clippy::type_complexity)]
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
        backward::<Self>([q, k, v], bias, [out, sums, upstream], scoring)
    }

    /// Attention of the parts of qkv [B, T, 3*H*Dh]; cos and sin as in [`rotary`](crate::rotary()) where the split says that
    /// queries and keys are turned, else any tensors.
    fn masked_projection(
        qkv: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        split: Split,
        scoring: Scoring,
    ) -> FloatTensor<Self> {
        Self::masked_projection_with_sums(qkv, cos, sin, bias, split, scoring).0
    }

    /// Output and sums.
    fn masked_projection_with_sums(
        qkv: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        split: Split,
        scoring: Scoring,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [q, k, v] = projection::parts::<Self>(qkv, [cos, sin], split);
        Self::masked_attention_with_sums(q, k, v, bias, scoring)
    }

    /// The gradient of qkv.
    #[allow(clippy::too_many_arguments)]
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
        projection::backward::<Self>(qkv, [cos, sin], bias, [out, sums, upstream], split, scoring)
    }
}

#[cfg(feature = "flex")]
impl MaskedAttentionOps for burn::backend::Flex {}

/// Products are in the type of q, the softmax is in f32. It is divided by its sum behind the second product, where there
/// are Dh numbers a query and not S.
fn forward<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    bias: FloatTensor<B>,
    scoring: Scoring,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let [rows, length, heads, width] = q.shape().dims();
    let low = FloatDType::from(q.dtype());
    let v = by_heads::<B>(v, heads);
    let scores = scores::<B>(by_heads::<B>(q, heads), by_heads::<B>(k, heads), bias, scoring.scale);
    let max = B::float_max_dim(scores.clone(), 3); // [B, H, T, 1]
    let exps = B::float_exp(B::float_sub(scores, max.clone()));
    let sum = B::float_sum_dim(exps.clone(), 3);
    let mixed = cast::<B>(B::float_matmul(cast::<B>(exps, low), v), FloatDType::F32); // [B, H, T, Dh]
    let out = cast::<B>(B::float_div(mixed, sum.clone()), low);
    let out = B::float_reshape(B::float_swap_dims(out, 1, 2), Shape::new([rows, length, heads * width]));
    (out, B::float_add(max, B::float_log(sum)))
}

/// With p the probabilities and g what reaches the output: that of v is p^T g; that of the scores is p (g v^T - sum(g out)),
/// where the sum goes over a head's width; those of q and k follow.
fn backward<B: Backend>(
    [q, k, v]: [FloatTensor<B>; 3],
    bias: FloatTensor<B>,
    [out, sums, upstream]: [FloatTensor<B>; 3],
    scoring: Scoring,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let ([rows, length, heads, width], [_, _, kv_heads, _]) = (q.shape().dims(), k.shape().dims());
    let low = FloatDType::from(q.dtype());
    let [q, k, v] = [q, k, v].map(|x| by_heads::<B>(x, heads));
    let of_heads =
        |x: FloatTensor<B>| by_heads::<B>(B::float_reshape(x, Shape::new([rows, length, heads, width])), heads);
    let (out, upstream) = (of_heads(out), of_heads(upstream));

    let scores = scores::<B>(q.clone(), k.clone(), bias, scoring.scale);
    let p = B::float_exp(B::float_sub(scores, sums)); // [B, H, T, S], f32
    let both = B::float_mul(cast::<B>(upstream.clone(), FloatDType::F32), cast::<B>(out, FloatDType::F32));
    let along = B::float_sum_dim(both, 3); // [B, H, T, 1]
    let for_p = B::float_matmul(upstream.clone(), B::float_swap_dims(v, 2, 3)); // [B, H, T, S]
    let for_scores = B::float_mul(p.clone(), B::float_sub(cast::<B>(for_p, FloatDType::F32), along));
    let for_scores = cast::<B>(B::float_mul_scalar(for_scores, scoring.scale.into()), low);
    let for_v = B::float_matmul(B::float_swap_dims(cast::<B>(p, low), 2, 3), upstream); // [B, H, S, Dh]
    let for_k = B::float_matmul(B::float_swap_dims(for_scores.clone(), 2, 3), q);
    let for_q = B::float_matmul(for_scores, k);
    let back = |x: FloatTensor<B>| B::float_swap_dims(x, 1, 2);
    (back(for_q), back(fewer_heads::<B>(for_k, kv_heads)), back(fewer_heads::<B>(for_v, kv_heads)))
}

/// q k^T scale + bias, in f32, [B, H, T, S].
fn scores<B: Backend>(q: FloatTensor<B>, k: FloatTensor<B>, bias: FloatTensor<B>, scale: f64) -> FloatTensor<B> {
    let products = cast::<B>(B::float_matmul(q, B::float_swap_dims(k, 2, 3)), FloatDType::F32);
    B::float_add(B::float_mul_scalar(products, scale.into()), bias)
}

/// [B, S, G, Dh] as [B, H, S, Dh], every head as often as the query heads that share it.
fn by_heads<B: Backend>(x: FloatTensor<B>, heads: usize) -> FloatTensor<B> {
    let [rows, length, kv_heads, width] = x.shape().dims();
    let x = B::float_swap_dims(x, 1, 2);
    if kv_heads == heads {
        return x;
    }
    let times = heads / kv_heads;
    let x = B::float_reshape(x, Shape::new([rows, kv_heads, 1, length, width]));
    let x = B::float_expand(x, Shape::new([rows, kv_heads, times, length, width]));
    B::float_reshape(x, Shape::new([rows, heads, length, width]))
}

/// The sum of the query heads that share a key head, [B, H, S, Dh] to [B, G, S, Dh].
fn fewer_heads<B: Backend>(x: FloatTensor<B>, kv_heads: usize) -> FloatTensor<B> {
    let [rows, heads, length, width] = x.shape().dims();
    if kv_heads == heads {
        return x;
    }
    let x = B::float_reshape(x, Shape::new([rows, kv_heads, heads / kv_heads, length, width]));
    B::float_reshape(B::float_sum_dim(x, 2), Shape::new([rows, kv_heads, length, width]))
}

#[cfg(all(test, feature = "flex"))]
#[allow(clippy::unwrap_used)]
mod tests;
