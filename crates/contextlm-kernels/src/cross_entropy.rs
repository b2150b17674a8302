//! The language-model loss as one operation.

mod backward;
#[cfg(feature = "flex")]
mod flex;
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
mod gpu;
#[cfg(feature = "libtorch")]
mod libtorch;
#[cfg(feature = "libtorch")]
mod libtorch_cuda;
mod ops;
#[cfg(any(test, feature = "wgpu", feature = "cuda", feature = "cpu"))]
mod padded;
#[cfg(any(feature = "flex", feature = "libtorch"))]
mod slices;

use burn::backend::Dispatch;
use burn::tensor::{DType, Int, Tensor};
use ops::LinearCrossEntropyOps;

use crate::device::{on_cubecl, on_libtorch_cuda};

/// Targets with this value are left out of the loss (PyTorch's default `ignore_index`).
pub const IGNORE_INDEX: i64 = -100;

/// Logits of a slice when [`CrossEntropyOptions::slice_rows`] is `None`: 8 MiB of f32, which stays in the last cache.
const SLICE_LOGITS: usize = 2 << 20;

/// The same on a GPU. No cache holds a slice there; what counts is that products are large and that the weight's gradient
/// is added up seldom: 4096 rows of GPT-2's vocabulary, 394 MiB of bf16.
const GPU_SLICE_LOGITS: usize = 50304 * 4096;

/// Rows of a slice even if that makes it larger: with fewer, adding up the weight's gradient [V, D] after every slice
/// is dear beside the matrix products.
const SLICE_ROWS: usize = 256;

/// How [`linear_cross_entropy`] scales and cuts its work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrossEntropyOptions {
    /// What the sum over the rows is divided by: usually the number of targets that are not ignored, counted over all
    /// the parts of a batch whose gradients are accumulated. With 0 (nothing to learn from) loss and gradients are 0.
    pub divisor: f64,
    /// Weight of the z-loss: the square of every row's log-normaliser, ln(sum(exp(logits))), which keeps logits from
    /// drifting away (PaLM, arXiv 2204.02311, has 1e-4). 0 leaves it out.
    pub z_loss: f64,
    /// Rows whose logits exist at the same time. More need more memory, fewer make smaller matrix products; the result
    /// is the same up to rounding. `None`: about two million logits, but at least 256 rows; on a GPU 206 million logits.
    pub slice_rows: Option<usize>,
}

impl Default for CrossEntropyOptions {
    /// The plain sum (divisor 1), cut by itself.
    fn default() -> Self {
        Self { divisor: 1.0, z_loss: 0.0, slice_rows: None }
    }
}

impl CrossEntropyOptions {
    /// Rows of a slice, at least one.
    fn rows_of_slice(&self, vocabulary: usize, gpu: bool) -> usize {
        let logits = if gpu { GPU_SLICE_LOGITS } else { SLICE_LOGITS };
        let by_size = || SLICE_ROWS.max(logits / vocabulary.max(1));
        self.slice_rows.unwrap_or_else(by_size).max(1)
    }

    /// What a row's negative log-likelihood is multiplied by.
    fn scale(&self) -> f64 {
        if self.divisor == 0.0 { 0.0 } else { 1.0 / self.divisor }
    }
}

/// Cross-entropy of `softmax(hidden weight^T)` against `targets`: the sum of the negative log-likelihoods, in nats, of
/// the rows that are not ignored, divided by [`CrossEntropyOptions::divisor`], and the z-loss where one is asked for.
///
/// It equals `torch.nn.functional.cross_entropy(hidden @ weight.T, targets, reduction="sum") / divisor`, but the logits
/// [N, V] never exist as a whole. The forward goes over the rows in slices; if gradients are asked for, it computes
/// those of `hidden` and `weight` on the way, and the backward multiplies them by the gradient that reaches the loss.
/// Memory is that of one slice, plus a copy of `hidden` and of `weight` for their gradients.
///
/// A `weight` that is also used elsewhere, as a tied embedding is, gets the sum of both gradients as usual.
///
/// # Shapes
/// - hidden: [N, D]
/// - weight: [V, D], the LM head
/// - targets: `[N]`, each in 0..V or [`IGNORE_INDEX`]
/// - returns `[1]`, f32
///
/// Hidden states and weight may be bf16 or f16 too, both of them. The matrix products are in their type, the rest is in f32.
///
/// Targets are not checked against V, since that would wait for the device: another value gives a wrong loss or the
/// backend's own panic.
///
/// # Panics
/// If the shapes do not fit together, if hidden and weight differ in type or are of another, or on a backend whose feature is off.
pub fn linear_cross_entropy(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
    options: CrossEntropyOptions,
) -> Tensor<1> {
    linear_cross_entropy_parts(hidden, weight, targets, options).total
}

/// The parts of the loss, `[1]` each.
#[derive(Debug, Clone)]
pub struct CrossEntropy {
    /// What is minimised: cross-entropy and z-loss.
    pub total: Tensor<1>,
    /// The cross-entropy alone, to look at: it has no gradient.
    pub cross_entropy: Tensor<1>,
}

/// As [`linear_cross_entropy`], with the cross-entropy beside the sum of it and the z-loss.
///
/// # Panics
/// As [`linear_cross_entropy`].
pub fn linear_cross_entropy_parts(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
    options: CrossEntropyOptions,
) -> CrossEntropy {
    let ([rows, width], [vocabulary, head_width], [target_rows]) = (hidden.dims(), weight.dims(), targets.dims());
    assert_eq!(rows, target_rows, "hidden has {rows} rows, targets has {target_rows}: they must be equal");
    assert_eq!(width, head_width, "hidden has width {width}, weight has {head_width}: they must be equal");
    let (dtype, head_dtype) = (hidden.dtype(), weight.dtype());
    assert_eq!(dtype, head_dtype, "hidden is {dtype:?}, weight is {head_dtype:?}: they must be equal");
    let known = [DType::F32, DType::BF16, DType::F16];
    assert!(known.contains(&dtype), "hidden is {dtype:?}, which linear_cross_entropy does not know: cast it");
    let slice_rows = options.rows_of_slice(vocabulary, on_cubecl(&hidden) || on_libtorch_cuda(&hidden));
    let (total, cross_entropy) = Dispatch::linear_cross_entropy(
        hidden.into_dispatch(),
        weight.into_dispatch(),
        targets.into_dispatch(),
        options.scale(),
        options.z_loss,
        slice_rows,
    );
    CrossEntropy { total: Tensor::from_dispatch(total), cross_entropy: Tensor::from_dispatch(cross_entropy) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_cut_by_logits_and_rows() {
        let options = CrossEntropyOptions::default();
        assert_eq!(options.rows_of_slice(1024, false), 2048);
        assert_eq!(options.rows_of_slice(50257, false), 256);
        assert_eq!(options.rows_of_slice(50304, true), 4096);
        assert_eq!(options.rows_of_slice(0, false), 2 << 20);
        assert_eq!(CrossEntropyOptions { slice_rows: Some(0), ..options }.rows_of_slice(10, true), 1);
        assert_eq!(CrossEntropyOptions { slice_rows: Some(7), ..options }.rows_of_slice(10, true), 7);
    }
}
