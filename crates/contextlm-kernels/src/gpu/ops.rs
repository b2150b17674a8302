//! The extension trait of the GPU's operations. They stand on `CubeBackend`; `Fusion` takes them into its queue as they are.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};
use burn_cubecl::CubeBackend;

#[cfg(feature = "fusion")]
use super::shapes::{
    numbers_of_columns, numbers_of_rows, of_attention, of_entries, of_heads, of_one_query, of_projection, with_last,
};
use super::squares::Place;
use super::{adamw, attention, embedding, gelu, loss, norm, one_query, product, projection, rotary, squares, sums};
use crate::QkvOrder;
use crate::adamw::Factors;
use crate::attention::masked::Scoring;

#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
pub(crate) trait GpuOps: Backend {
    /// x y for [..., M, K] and [..., K, N] of equal leading dimensions.
    #[fusion(dtype = x, shape = with_last(x, y))]
    fn gpu_product(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self>;

    /// x W for [..., K] and [K, N].
    #[fusion(dtype = x, shape = with_last(x, weight))]
    fn gpu_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Attention of heads, q [B, H, T, Dh], k and v [B, H, S, Dh]: the output, [B, H, T, Dh], and the logarithm of every
    /// softmax's sum, [B, H, T, 1], f32; bias [B or 1, 1, T, S], f32.
    #[fusion(meta = |q, _, _, _, _| (q.clone(), numbers_of_rows(q)))]
    fn gpu_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scoring: Scoring,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Attention of one query a row, q [B, 1, H, Dh], k and v [B, S, G, Dh], where G divides H, all of one type: [B, 1, H*Dh];
    /// bias [B or 1, 1, 1, S], f32. Where [`one_query_has_kernel`](super::one_query_has_kernel).
    #[fusion(meta = |q, _, _, _, _| of_one_query(q))]
    fn gpu_one_query(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self>;

    /// Gradients of q, k and v, for out and upstream [B, T, H*Dh].
    #[fusion(meta = |q, k, _, _, _, _, _, _| of_attention(q, k))]
    #[allow(clippy::too_many_arguments, clippy::type_complexity)]
    fn gpu_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        out: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        scoring: Scoring,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Of logits [N, V] whose first `vocabulary` columns count: negative log-likelihoods and squares of the log-normalisers,
    /// [N, 1] each, f32, 0 where the target [N, 1] is ignored.
    #[fusion(meta = |logits, _, _| (numbers_of_rows(logits), numbers_of_rows(logits)))]
    fn gpu_losses(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        vocabulary: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The same, and the gradient of their sum, the squares times `z_loss`, for the logits, [N, V], in their type.
    #[fusion(meta = |logits, _, _, _| (numbers_of_rows(logits), numbers_of_rows(logits), logits.clone()))]
    fn gpu_losses_with_gradient(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        vocabulary: usize,
        z_loss: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// (x - mean) / sqrt(variance + eps) weight + bias of every row, f32; not `centred`, without mean and bias.
    #[fusion(dtype = x, shape = x)]
    fn gpu_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
        centred: bool,
    ) -> FloatTensor<Self>;

    /// The exact GELU, computed in f32.
    #[fusion(dtype = x, shape = x)]
    fn gpu_gelu(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Upstream times its derivative at x, both of one type.
    #[fusion(dtype = x, shape = x)]
    fn gpu_gelu_backward(x: FloatTensor<Self>, upstream: FloatTensor<Self>) -> FloatTensor<Self>;

    /// x [B, T, H, Dh] turned by cos and sin, f32, [B or 1, T, 1, R], of which the first halves of rows are read; or turned `back`.
    #[fusion(dtype = x, shape = x)]
    fn gpu_rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        back: bool,
    ) -> FloatTensor<Self>;

    /// Queries, keys and values of a projection [B, T, 3*H*Dh], three times [B, H, T, Dh], queries and keys turned as above if
    /// they are to be `turned`; else any tensors stand for cos and sin, which are not read.
    #[fusion(meta = |all, _, _, heads, _, _| of_heads(all, *heads))]
    #[allow(clippy::type_complexity)]
    fn gpu_apart(
        all: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        heads: usize,
        order: QkvOrder,
        turned: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The reverse, queries and keys turned back.
    #[fusion(meta = |q, _, _, _, _, _, _| of_projection(q))]
    fn gpu_together(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        order: QkvOrder,
        turned: bool,
    ) -> FloatTensor<Self>;

    /// Sums of the columns of x [..., D]: [D], f32.
    #[fusion(meta = |x| numbers_of_columns(x))]
    fn gpu_column_sums(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `sums` with those of the elements of x, or of their squares, in x's place, all f32, in their memory where nobody else
    /// holds that.
    #[fusion(dtype = sums, shape = sums)]
    fn gpu_sums(x: FloatTensor<Self>, sums: FloatTensor<Self>, place: Place, squared: bool) -> FloatTensor<Self>;

    /// The gradient of an embedding table of so many entries, [entries, D]: sums of the rows of upstream [..., D], f32, by the
    /// entries that `numbers` says they are of.
    #[fusion(meta = |upstream, _, entries| of_entries(upstream, *entries))]
    fn gpu_embedding_backward(
        upstream: FloatTensor<Self>,
        numbers: IntTensor<Self>,
        entries: usize,
    ) -> FloatTensor<Self>;

    /// Parameter and moments after a step of AdamW, f32, in the memory of those before it where nobody else holds that.
    #[fusion(meta = |x, _, m, v, _| (x.clone(), m.clone(), v.clone()))]
    #[allow(clippy::type_complexity)]
    fn gpu_adamw(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        factors: Factors,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of x, weight and bias; that of the bias only where it is `centred`.
    #[fusion(meta = |x, _, _, _, _| (x.clone(), numbers_of_columns(x), numbers_of_columns(x)))]
    #[allow(clippy::type_complexity)]
    fn gpu_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        eps: f64,
        centred: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl GpuOps for CubeBackend {
    fn gpu_embedding_backward(
        upstream: FloatTensor<Self>,
        numbers: IntTensor<Self>,
        entries: usize,
    ) -> FloatTensor<Self> {
        embedding::backward(upstream, numbers, entries)
    }

    fn gpu_adamw(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        factors: Factors,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        adamw::step(x, gradient, m, v, factors)
    }

    fn gpu_rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        back: bool,
    ) -> FloatTensor<Self> {
        rotary::rotary(x, cos, sin, back)
    }

    fn gpu_apart(
        all: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        heads: usize,
        order: QkvOrder,
        turned: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        projection::apart(all, cos, sin, heads, order, turned)
    }

    fn gpu_together(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        order: QkvOrder,
        turned: bool,
    ) -> FloatTensor<Self> {
        projection::together([q, k, v], cos, sin, order, turned)
    }

    fn gpu_column_sums(x: FloatTensor<Self>) -> FloatTensor<Self> {
        sums::columns(x)
    }

    fn gpu_sums(x: FloatTensor<Self>, sums: FloatTensor<Self>, place: Place, squared: bool) -> FloatTensor<Self> {
        squares::sums(x, sums, place, squared)
    }

    fn gpu_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
        centred: bool,
    ) -> FloatTensor<Self> {
        norm::forward(x, weight, bias, eps as f32, centred)
    }

    fn gpu_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        eps: f64,
        centred: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        norm::backward(x, weight, upstream, eps as f32, centred)
    }

    fn gpu_product(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self> {
        product::product(x, y)
    }

    fn gpu_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        product::linear(x, weight)
    }

    fn gpu_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scoring: Scoring,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        attention::forward([q, k, v], bias, scoring)
    }

    fn gpu_one_query(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        one_query::attend([q, k, v], bias, scale as f32)
    }

    fn gpu_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        gelu::forward(x)
    }

    fn gpu_gelu_backward(x: FloatTensor<Self>, upstream: FloatTensor<Self>) -> FloatTensor<Self> {
        gelu::backward(x, upstream)
    }

    fn gpu_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        out: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        scoring: Scoring,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        attention::backward([q, k, v], bias, [out, sums, upstream], scoring)
    }

    fn gpu_losses(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        vocabulary: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (losses, squares, _) = loss::losses(logits, targets, vocabulary, 0.0, false);
        (losses, squares)
    }

    fn gpu_losses_with_gradient(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        vocabulary: usize,
        z_loss: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        loss::losses(logits, targets, vocabulary, z_loss as f32, true)
    }
}
