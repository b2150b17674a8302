//! Products in f32, where burn would round their factors to TF32, which has 10 bits of mantissa instead of 23.

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::ir::{ElemType, FloatKind};
use burn_cubecl::tensor::CubeTensor;
use cubek::matmul::multi_level::Strategy as Levels;
use cubek::matmul::routine::BlueprintStrategy::Inferred;

use super::launch;
#[cfg(feature = "cuda-cpp")]
use crate::gpu::wgmma;

/// x y as exact as f32 is, on devices that have TF32; none elsewhere, where burn's are, and for no numbers.
pub(super) fn product(x: &CubeTensor, y: &CubeTensor) -> Option<CubeTensor> {
    let (of_x, of_y) = (x.shape(), y.shape());
    let last = of_x.num_dims() - 1;
    let any = of_x.num_elements() > 0 && of_y.num_elements() > 0;
    if !any || [x, y].iter().any(|factor| factor.dtype != DType::F32) || !has_tf32(&x.client) {
        return None;
    }
    // A single row is a matter of reading y once, and taking it apart would be reading it three times.
    #[cfg(feature = "cuda-cpp")]
    if of_x[last - 1] > 1
        && wgmma::runs_on(&x.client)
        && let Some(out) = wgmma::product_of_f32(x, y)
    {
        return Some(out);
    }
    let y_columns = y.meta.strides()[last] != 1;
    // Kernels whose units multiply by themselves. The first two become the third where they do not take a shape.
    let strategy = match (of_x[last - 1], y_columns) {
        (1, false) => Levels::GemvUnitPerpendicular(Inferred(Default::default())),
        (1, true) => Levels::Gemm(Inferred(Default::default())),
        _ => Levels::SimpleUnit(Inferred(Default::default())),
    };
    launch(strategy, x, y)
}

fn has_tf32(client: &Client) -> bool {
    client.properties().supports_type(ElemType::Float(FloatKind::TF32))
}
