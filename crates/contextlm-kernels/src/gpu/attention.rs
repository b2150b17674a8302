//! Attention of heads: its products with the softmax between them, scores being read once forward and once backward.
//!
//! Half of the scores of causal attention are masked. The kernel of our own leaves them out, in whole tiles: they stay
//! unwritten, and what stands there, which may be anything, is read by no later product of the same attention and by no
//! softmax. So either all products of an attention leave them out or none does.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::ops::reshape;
use burn_cubecl::tensor::CubeTensor;

use super::along::along;
use super::needed::Needed;
use super::product::{factor, part};
use super::softmax;
use crate::attention::masked::Scoring;

/// [`gpu_attention`](super::GpuOps::gpu_attention).
pub(super) fn forward(factors: [CubeTensor; 3], bias: CubeTensor, scoring: Scoring) -> (CubeTensor, CubeTensor) {
    in_part_or_whole(left_out(scoring, &factors[0]), |causal| {
        attend(factors.clone(), bias.clone(), scoring.scale as f32, causal)
    })
}

/// [`gpu_attention_backward`](super::GpuOps::gpu_attention_backward).
pub(super) fn backward(
    [q, k, v]: [CubeTensor; 3],
    bias: CubeTensor,
    [out, sums, upstream]: [CubeTensor; 3],
    scoring: Scoring,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [rows, heads, length, width] = q.shape().dims();
    let along = along(upstream.clone(), out, heads); // [B, H, T, 1]
    let upstream = reshape(upstream, Shape::new([rows, length, heads, width]));
    let upstream = CubeBackend::float_swap_dims(upstream, 1, 2);
    let [q, k, upstream] = [q, k, upstream].map(factor);
    let left_out = left_out(scoring, &q);
    let factors = [q, k, v, upstream];
    in_part_or_whole(left_out, |causal| {
        gradients(factors.clone(), bias.clone(), [sums.clone(), along.clone()], scoring.scale as f32, causal)
    })
}

/// Whether masked scores may be left out: a single query has none.
fn left_out(scoring: Scoring, q: &CubeTensor) -> bool {
    let [_, _, length, _] = q.shape().dims();
    scoring.causal && length > 1
}

/// What `attention` gives without the masked scores, if they are to be left out and can be in all its products; else with all.
fn in_part_or_whole<T>(causal: bool, attention: impl Fn(bool) -> Option<T>) -> T {
    match causal.then(|| attention(true)).flatten().or_else(|| attention(false)) {
        Some(results) => results,
        None => unreachable!("whole products are always made"),
    }
}

/// Output and sums; `causal`, only what is needed of the products, and none if not all of them can do with that.
fn attend([q, k, v]: [CubeTensor; 3], bias: CubeTensor, scale: f32, causal: bool) -> Option<(CubeTensor, CubeTensor)> {
    let only = |needed| if causal { needed } else { Needed::All };
    let scores = part(q, turned(k), only(Needed::BelowDiagonal))?;
    let (p, sums) = softmax::forward(scores, bias, scale, causal);
    let out = part(p, v, only(Needed::UpToRow))?;
    Some((out, sums))
}

/// The same of the gradients of q, k and v.
fn gradients(
    [q, k, v, upstream]: [CubeTensor; 4],
    bias: CubeTensor,
    [sums, along]: [CubeTensor; 2],
    scale: f32,
    causal: bool,
) -> Option<(CubeTensor, CubeTensor, CubeTensor)> {
    let only = |needed| if causal { needed } else { Needed::All };
    let scores = part(q.clone(), turned(k.clone()), only(Needed::BelowDiagonal))?;
    let for_p = part(upstream.clone(), turned(v), only(Needed::BelowDiagonal))?;
    let (p, for_scores) = softmax::backward(scores, bias, [sums, along], for_p, scale, causal);
    let for_v = part(turned(p), upstream, only(Needed::FromRow))?; // [B, H, S, Dh]
    let for_k = part(turned(for_scores.clone()), q, only(Needed::FromRow))?;
    let for_q = part(for_scores, k, only(Needed::UpToRow))?;
    Some((for_q, for_k, for_v))
}

/// [B, H, M, N] as [B, H, N, M].
fn turned(x: CubeTensor) -> CubeTensor {
    CubeBackend::float_swap_dims(x, 2, 3)
}
