//! The extension trait of attention.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

use super::KeyRanges;

/// Attention in one operation. It has no composed body: where there is no fast one,
/// [`attention_with`](super::attention_with) is used instead, which burn differentiates as it does all else.
#[backend_extension(Flex: cfg(feature = "flex"), LibTorch: cfg(feature = "libtorch"), Autodiff)]
#[allow(unused_variables)] // without a backend
pub(crate) trait AttentionOps: Backend {
    /// Shapes as in [`attention`](super::attention).
    fn fused_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        ranges: KeyRanges,
        scale: f64,
    ) -> FloatTensor<Self>;

    /// The same, and the logarithm of every softmax's sum, [B, T, H], for the backward.
    fn fused_attention_with_sums(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        ranges: KeyRanges,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Gradients of q, k and v.
    #[allow(clippy::too_many_arguments, clippy::type_complexity)]
    fn fused_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        out: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        ranges: KeyRanges,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}
