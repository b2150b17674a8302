//! What GPUs (CubeCL's backends) are given instead of burn's own operations: matrix products that are chosen and not tuned,
//! and rows of scores and of logits that are read once instead of once for every operation on them.

mod adamw;
mod embedding;
mod loss;
mod norm;
mod ops;
mod product;
mod rows;
#[cfg(feature = "fusion")]
mod shapes;
mod softmax;
mod sums;

pub(crate) use ops::GpuOps;
