//! The extension trait of attention from a projection.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

use super::QkvOrder;
use crate::KeyRanges;

/// As attention, it has no composed body. Shapes as in [`attention_of_projection`](super::attention_of_projection);
/// cos and sin are empty where nothing is turned.
#[backend_extension(Flex: cfg(feature = "flex"), LibTorch: cfg(feature = "libtorch"), Autodiff)]
#[allow(unused_variables, clippy::too_many_arguments)] // without a backend
pub(crate) trait ProjectionOps: Backend {
    fn fused_projection(
        qkv: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        heads: usize,
        order: QkvOrder,
        ranges: KeyRanges,
        scale: f64,
    ) -> FloatTensor<Self> {
        Self::fused_projection_with_sums(qkv, cos, sin, heads, order, ranges, scale).0
    }

    /// The same, and the logarithm of every softmax's sum, [B, T, H], for the backward.
    fn fused_projection_with_sums(
        qkv: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        heads: usize,
        order: QkvOrder,
        ranges: KeyRanges,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradient of qkv. `sums` has the number of heads.
    fn fused_projection_backward(
        qkv: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        out: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        order: QkvOrder,
        ranges: KeyRanges,
        scale: f64,
    ) -> FloatTensor<Self>;
}
