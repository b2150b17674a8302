//! Attention from the output of one map to queries, keys and values.

mod backward;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "libtorch")]
mod libtorch;
mod ops;
#[allow(unused_variables)] // without LibTorch
mod turned;

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use ops::ProjectionOps;
use turned::TurnedProjectionOps;

use crate::attention::{has_fast_attention, masked};
use crate::device::{on_cubecl, on_libtorch};
use crate::rotary::has_fast_rotation;
use crate::{KeyRanges, attention, fused, rotary};

/// How queries, keys and values stand in the output of one map to all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkvOrder {
    /// All queries, then all keys, then all values (GPT-2's `c_attn`).
    Parts,
    /// Query, key and value of the first head, then those of the second (GPT-NeoX's `query_key_value`).
    Heads,
}

#[cfg(any(feature = "flex", feature = "wgpu", feature = "cuda", feature = "cpu"))]
impl QkvOrder {
    /// Distances of the three parts, and of heads, in an entry of the projection.
    pub(crate) fn steps(self, heads: usize, width: usize) -> [usize; 2] {
        match self {
            Self::Parts => [heads * width, width],
            Self::Heads => [width, 3 * width],
        }
    }
}

/// [`attention`] of the three parts of a projection, queries and keys being turned by [`rotary`](crate::rotary()) first
/// where `angles` (cos and sin) are given. Where [`attention`](crate::attention()) has a fast body the parts are read where
/// they are, and there is one gradient for all of them.
///
/// # Shapes
/// - qkv: [B, T, 3*H*Dh]
/// - angles: as in [`rotary`](crate::rotary())
/// - ranges: T queries and T keys
/// - returns [B, T, H*Dh]
///
/// # Panics
/// If the shapes do not fit together.
pub fn attention_of_projection(
    qkv: Tensor<3>,
    heads: usize,
    order: QkvOrder,
    angles: Option<(Tensor<4>, Tensor<4>)>,
    ranges: &KeyRanges,
    scale: f64,
) -> Tensor<3> {
    let [rows, length, width] = qkv.dims();
    assert!(heads > 0 && width.is_multiple_of(3 * heads), "{width} is no multiple of 3 * {heads} heads");
    assert_eq!((ranges.queries(), ranges.keys()), (length, length), "the ranges are of other queries and keys");
    if let Some((cos, sin)) = &angles {
        rotary::check([rows, length, heads, width / (3 * heads)], cos, sin);
    }
    let turns = angles.iter().all(|(cos, sin)| has_fast_rotation(&qkv, cos, sin));
    if fused() && on_cubecl(&qkv) && turns {
        return masked::attention_of_projection(qkv, heads, order, angles, ranges, scale);
    }
    if !fused() || !has_fast_attention(&qkv, width / (3 * heads), ranges) || !turns {
        let [q, k, v] = split_turned_projection(qkv, heads, order, angles);
        return attention(q, k, v, ranges, scale);
    }
    let (qkv, angles) = turned_where_it_is(qkv, heads, order, angles);
    let none = || Tensor::empty([1, 1, 1, 0], &qkv.device());
    let (cos, sin) = angles.unwrap_or_else(|| (none(), none()));
    let (qkv, cos, sin) = (qkv.into_dispatch(), cos.into_dispatch(), sin.into_dispatch());
    Tensor::from_dispatch(Dispatch::fused_projection(qkv, cos, sin, heads, order, ranges.clone(), scale))
}

/// The projection turned, without angles that are left, on LibTorch; elsewhere as it is.
#[allow(clippy::type_complexity)] // what it is given
fn turned_where_it_is(
    qkv: Tensor<3>,
    heads: usize,
    order: QkvOrder,
    angles: Option<(Tensor<4>, Tensor<4>)>,
) -> (Tensor<3>, Option<(Tensor<4>, Tensor<4>)>) {
    match angles {
        Some((cos, sin)) if fused() && on_libtorch(&qkv) && has_fast_rotation(&qkv, &cos, &sin) => {
            let (qkv, cos, sin) = (qkv.into_dispatch(), cos.into_dispatch(), sin.into_dispatch());
            (Tensor::from_dispatch(Dispatch::turned_projection(qkv, cos, sin, heads, order, false)), None)
        }
        angles => (qkv, angles),
    }
}

/// [`split_projection`] with queries and keys turned by [`rotary`](crate::rotary()) where `angles` (cos and sin) are given; on
/// LibTorch both together, before they are split.
///
/// # Shapes
/// As [`split_projection`]; angles as in [`rotary`](crate::rotary())
///
/// # Panics
/// If the shapes do not fit together.
pub fn split_turned_projection(
    qkv: Tensor<3>,
    heads: usize,
    order: QkvOrder,
    angles: Option<(Tensor<4>, Tensor<4>)>,
) -> [Tensor<4>; 3] {
    if let Some((cos, sin)) = &angles {
        let [rows, length, width] = qkv.dims();
        rotary::check([rows, length, heads, width / (3 * heads)], cos, sin);
    }
    let (qkv, angles) = turned_where_it_is(qkv, heads, order, angles);
    let [q, k, v] = split_projection(qkv, heads, order);
    match angles {
        Some((cos, sin)) => [rotary(q, cos.clone(), sin.clone()), rotary(k, cos, sin), v],
        None => [q, k, v],
    }
}

/// Queries, keys and values of a projection.
///
/// # Shapes
/// [B, T, 3*H*Dh] to three times [B, T, H, Dh]
pub fn split_projection(qkv: Tensor<3>, heads: usize, order: QkvOrder) -> [Tensor<4>; 3] {
    let [rows, length, all] = qkv.dims();
    let width = all / 3 / heads;
    // Split before it is cut: on flex a part of a tensor is read where it is, but reshaping one copies it.
    match order {
        QkvOrder::Parts => {
            let all = qkv.reshape([rows, length, 3 * heads, width]);
            [0, 1, 2].map(|i| all.clone().narrow(2, i * heads, heads))
        }
        QkvOrder::Heads => {
            let all = qkv.reshape([rows, length, heads, 3 * width]);
            [0, 1, 2].map(|i| all.clone().narrow(3, i * width, width))
        }
    }
}
