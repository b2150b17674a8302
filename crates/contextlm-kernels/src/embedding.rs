//! Rows of an embedding table.

mod backward;
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
mod gpu;
mod ops;

use burn::backend::Dispatch;
use burn::tensor::module::embedding as burn_embedding;
use burn::tensor::{Int, Tensor};
use ops::EmbeddingOps;

use crate::fused;

/// Rows of `table` by their numbers, as `torch.nn.functional.embedding`. On GPUs the gradient of a row is added up by the units
/// that write it, in an order that is always the same; elsewhere it is burn's.
///
/// # Shapes
/// - table: [N, D]
/// - numbers: [B, T], each in 0..N
/// - returns [B, T, D]
///
/// # Panics
/// On a backend whose feature is off.
pub fn embedding(table: Tensor<2>, numbers: Tensor<2, Int>) -> Tensor<3> {
    if !fused() {
        return burn_embedding(table, numbers);
    }
    Tensor::from_dispatch(Dispatch::rows_of_table(table.into_dispatch(), numbers.into_dispatch()))
}
