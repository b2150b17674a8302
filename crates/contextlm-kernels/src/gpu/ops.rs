//! The extension trait of the GPU's operations. They stand on `CubeBackend`; `Fusion` takes them into its queue as they are.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};
use burn_cubecl::CubeBackend;

#[cfg(feature = "fusion")]
use super::shapes::{
    numbers_of_heads, numbers_of_rows, of_entries, of_heads, of_parts, of_projection, of_runs, with_last,
};
use super::squares::Place;
use super::{adamw, along, embedding, loss, norm, product, projection, rotary, softmax, squares, sums};
use crate::QkvOrder;
use crate::adamw::Factors;

#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
pub(crate) trait GpuOps: Backend {
    /// x y for [..., M, K] and [..., K, N] of equal leading dimensions.
    #[fusion(dtype = x, shape = with_last(x, y))]
    fn gpu_product(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self>;

    /// x as several products read it best: where each of them would copy it, without gaps and in the order of its dimensions.
    #[fusion(dtype = x, shape = x)]
    fn gpu_factor(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// x W for [..., K] and [K, N].
    #[fusion(dtype = x, shape = with_last(x, weight))]
    fn gpu_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// softmax(scores scale + bias) over the last dimension of scores [B, H, T, S], and the logarithm of every softmax's sum,
    /// [B, H, T, 1], f32; bias [B or 1, 1, T, S], f32.
    #[fusion(meta = |scores, _, _| (scores.clone(), numbers_of_rows(scores)))]
    fn gpu_softmax(
        scores: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The same probabilities p, made from `sums`, and the gradient of the products that `scores` are:
    /// p (for_p - along) scale, with `along` [B, H, T, 1], f32.
    #[fusion(meta = |scores, _, _, _, _, _| (scores.clone(), scores.clone()))]
    fn gpu_softmax_backward(
        scores: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        along: FloatTensor<Self>,
        for_p: FloatTensor<Self>,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The sum of upstream times out over the dimensions of every head, both [B, T, H*Dh]: `along`, [B, H, T, 1], f32.
    #[fusion(meta = |_, out, heads| numbers_of_heads(out, *heads))]
    fn gpu_along(upstream: FloatTensor<Self>, out: FloatTensor<Self>, heads: usize) -> FloatTensor<Self>;

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

    /// Sums of the columns of x [..., D], of runs of its rows: [parts, D], f32, to be added up.
    #[fusion(meta = |x| of_runs(x))]
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

    /// The gradient of x, and parts of those of weight and bias, [parts, D], to be added up.
    #[fusion(meta = |x, _, _, _, _| (x.clone(), of_parts(x), of_parts(x)))]
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

    fn gpu_factor(x: FloatTensor<Self>) -> FloatTensor<Self> {
        product::factor(x)
    }

    fn gpu_product(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self> {
        product::product(x, y)
    }

    fn gpu_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        product::linear(x, weight)
    }

    fn gpu_softmax(
        scores: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        softmax::forward(scores, bias, scale as f32)
    }

    fn gpu_softmax_backward(
        scores: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        along: FloatTensor<Self>,
        for_p: FloatTensor<Self>,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        softmax::backward(scores, bias, sums, along, for_p, scale as f32)
    }

    fn gpu_along(upstream: FloatTensor<Self>, out: FloatTensor<Self>, heads: usize) -> FloatTensor<Self> {
        along::along(upstream, out, heads)
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
