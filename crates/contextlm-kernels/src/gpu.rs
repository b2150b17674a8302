//! What GPUs (CubeCL's backends) are given instead of burn's own operations: matrix products that are chosen and mostly not tuned,
//! and rows of scores and of logits that are read once instead of once for every operation on them.

use burn::backend::ops::IntTensorOps;
use burn::backend::tensor::IntTensor;
use burn::backend::{Cube, TensorMetadata};
use burn::tensor::{DType, IntDType};

mod adamw;
mod along;
mod attention;
mod embedding;
mod gelu;
mod loss;
mod matrices;
mod needed;
mod norm;
mod one_query;
mod ops;
mod product;
mod projection;
mod rotary;
mod rows;
#[cfg(feature = "fusion")]
mod shapes;
mod softmax;
mod squares;
mod sums;
mod vector;
#[cfg(feature = "cuda-cpp")]
mod wgmma;

pub(crate) use one_query::has_kernel as one_query_has_kernel;
pub(crate) use ops::GpuOps;
pub(crate) use product::tunes_f32;
pub(crate) use squares::{Place, places};

/// Whether kernels read numbers of such a type.
pub(crate) fn reads(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::BF16 | DType::F16)
}

/// Targets and numbers of tokens in a type that kernels read.
pub(crate) fn signed(numbers: IntTensor<Cube>) -> IntTensor<Cube> {
    match numbers.dtype() {
        DType::I32 | DType::I64 => numbers,
        _ => Cube::int_cast(numbers, IntDType::I32),
    }
}
