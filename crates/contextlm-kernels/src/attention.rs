//! Causal attention.

mod backward;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "libtorch")]
pub(crate) mod libtorch;
#[cfg(feature = "libtorch")]
mod libtorch_cuda;
pub(crate) mod masked;
mod ops;
mod ranges;
#[cfg(feature = "flex")]
pub(crate) mod tiles;

use burn::backend::Dispatch;
use burn::tensor::activation::softmax;
use burn::tensor::{DType, Tensor};
use ops::AttentionOps;
pub use ranges::KeyRanges;

use crate::device::{on_cubecl, on_flex, on_libtorch, on_libtorch_cuda};
use crate::fused;

/// `softmax(q k^T scale) v` for every head, each query attending to its keys of `ranges` only. Query head h has the keys
/// and values of head h / (H / G).
///
/// On flex, in f32, it is one operation that goes over the scores in tiles, forward and backward, and keeps the inputs, the
/// output and one number for each query; so it is on LibTorch, whose own operation it is there, also in bf16 and f16; on its
/// GPUs only where the keys of each query are all, or all up to its own, and the dimensions of a head a multiple of 8. Flash attention,
/// which it is there in bf16 and f16, adds up the gradient of q in any order.
/// On GPUs (CubeCL) it keeps the same, but has all scores of a call at a time, unless each row has one query, heads are at most
/// 128 wide, there are up to 1024 keys and no gradients are wanted, as in decoding; on NVIDIA's Hopper, with the feature `cuda-cpp`,
/// those above the diagonal are not computed where each query has all keys up to its own.
/// Elsewhere it is [`attention_with`].
///
/// # Shapes
/// - q: [B, T, H, Dh]
/// - k, v: [B, S, G, Dh], where G divides H
/// - ranges: T queries and S keys, of one row or of B
/// - returns [B, T, H*Dh]
///
/// # Panics
/// If the shapes do not fit together.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, ranges: &KeyRanges, scale: f64) -> Tensor<3> {
    check(&q, &k, &v, ranges);
    let width = q.dims()[3];
    if fused() && on_cubecl(&q) {
        return masked::attention(q, k, v, ranges, scale);
    }
    let one_type = k.dtype() == q.dtype() && v.dtype() == q.dtype();
    if !fused() || !one_type || !has_fast_attention(&q, width, ranges) {
        return attention_with(q, k, v, ranges, scale, |weights| weights);
    }
    let (q, k, v) = (q.into_dispatch(), k.into_dispatch(), v.into_dispatch());
    Tensor::from_dispatch(Dispatch::fused_attention(q, k, v, ranges.clone(), scale))
}

/// Whether there is a fast body for queries, keys and values like these, `width` being that of a head. One without elements is
/// not worth it.
pub(crate) fn has_fast_attention<const D: usize>(x: &Tensor<D>, width: usize, ranges: &KeyRanges) -> bool {
    match x.dtype() {
        DType::F32 if on_flex(x) => true,
        DType::F32 | DType::BF16 | DType::F16 if on_libtorch(x) && x.dims().iter().all(|dim| *dim > 0) => {
            // PyTorch's kernels for GPUs read 16 bytes at a time, and the masks that they take are as large as the scores.
            !on_libtorch_cuda(x) || (width.is_multiple_of(8) && (ranges.all_before() || ranges.all_keys()))
        }
        _ => false,
    }
}

/// [`attention`] of burn's own operations, with `change` of the weights [B, H, T, S] before they meet the values: dropout.
///
/// # Panics
/// As [`attention`].
pub fn attention_with(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    ranges: &KeyRanges,
    scale: f64,
    change: impl FnOnce(Tensor<4>) -> Tensor<4>,
) -> Tensor<3> {
    check(&q, &k, &v, ranges);
    let ([rows, length, heads, width], [_, _, kv_heads, _]) = (q.dims(), k.dims());
    let dtype = q.dtype();
    let as_heads = |x: Tensor<4>| repeat_heads(x.swap_dims(1, 2), heads / kv_heads);
    let (q, k, v) = (q.swap_dims(1, 2).mul_scalar(scale), as_heads(k), as_heads(v));
    let scores = q.matmul(k.swap_dims(2, 3)); // [B, H, T, S]
    // The softmax in f32, whatever the type of the products.
    let cast = |x: Tensor<4>, dtype: DType| if x.dtype() == dtype { x } else { x.cast(dtype) };
    let bias = ranges.bias(&scores.device());
    let weights = change(cast(softmax(cast(scores, DType::F32) + bias, 3), dtype));
    weights.matmul(v).swap_dims(1, 2).reshape([rows, length, heads * width])
}

/// Every key-value head `times` over, so that query head h meets key-value head h / times.
fn repeat_heads(x: Tensor<4>, times: usize) -> Tensor<4> {
    if times == 1 {
        return x;
    }
    let [rows, heads, length, width] = x.dims();
    x.unsqueeze_dim::<5>(2).expand([rows, heads, times, length, width]).reshape([rows, heads * times, length, width])
}

fn check(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>, ranges: &KeyRanges) {
    let ([rows, queries, heads, width], [_, keys, kv_heads, _]) = (q.dims(), k.dims());
    assert_eq!(k.dims(), [rows, keys, kv_heads, width], "k does not fit q of {:?}", q.dims());
    assert_eq!(v.dims(), k.dims(), "v must be of the shape of k");
    assert!(kv_heads > 0 && heads.is_multiple_of(kv_heads), "{kv_heads} key heads must divide {heads} heads");
    let (of_queries, of_keys, of_rows) = (ranges.queries(), ranges.keys(), ranges.rows());
    assert_eq!((of_queries, of_keys), (queries, keys), "the ranges are of other queries and keys");
    assert!(of_rows == 1 || of_rows == rows, "ranges of {of_rows} rows for {rows}");
}
