//! Matrix products in bf16 and f16 by kernels that are chosen here. burn tunes: it compiles and runs twenty candidates for
//! every kind of product, and takes the first that comes near an estimate of the device's speed.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl::ir::{ElemType, FloatKind, IntKind};
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::ops::reshape;
use burn_cubecl::tensor::CubeTensor;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy as Levels;
use cubek::matmul::multi_level::components::tile::TileMatmulKind;
use cubek::matmul::multi_level::routines::batch::double_buffering::DoubleBufferingArgs;
use cubek::matmul::multi_level::routines::batch::ordered_double_buffering::OrderedSelectionArgs;
use cubek::matmul::multi_level::routines::batch::simple::SimpleArgs;
use cubek::matmul::routine::BlueprintStrategy::Inferred;
use cubek::matmul::strategy::Strategy;
use cubek::std::InputBinding;

use super::rows::new_like;

/// Products with a dimension below it are left to burn.
const SMALL: usize = 32;

/// [`gpu_linear`](super::GpuOps::gpu_linear).
pub(super) fn linear(x: CubeTensor, weight: CubeTensor) -> CubeTensor {
    let mut shape = x.shape();
    let last = shape.num_dims() - 1;
    let (inputs, outputs) = (shape[last], weight.shape()[1]);
    let rows = shape.num_elements() / inputs.max(1);
    // One product of all rows, where burn makes one for every sequence.
    let out = product(reshape(x, Shape::new([rows, inputs])), weight);
    shape[last] = outputs;
    reshape(out, shape)
}

/// [`gpu_product`](super::GpuOps::gpu_product).
pub(super) fn product(x: CubeTensor, y: CubeTensor) -> CubeTensor {
    let dtype = x.dtype;
    let (mut shape, of_y) = (x.shape(), y.shape());
    let rank = shape.num_dims();
    let (m, k, n) = (shape[rank - 2], shape[rank - 1], of_y[rank - 1]);
    let low = matches!(dtype, DType::BF16 | DType::F16);
    if low && m.min(n).min(k) >= SMALL {
        shape[rank - 1] = n;
        let out = new_like(&x, shape, dtype);
        for strategy in strategies() {
            let elem = elem(dtype);
            let mut elems = MatmulElems::from_globals(&MatmulGlobalElems { lhs: elem, rhs: elem, out: elem });
            let [of_x, of_y] = [&x, &y].map(|operand| InputBinding::new(operand.clone().binding(), elem));
            let to = out.clone().binding();
            if launch_ref(&strategy, &out.client, of_x, of_y, to, &mut elems).is_ok() {
                return out;
            }
        }
    }
    match matmul(x.clone(), y.clone(), None, MatmulStrategy::default(), dtype) {
        Ok(out) => out,
        Err(error) => unreachable!("burn multiplies everything: {error:?}"),
    }
}

/// The kernels, best first; none: burn tunes.
fn strategies() -> Vec<Strategy> {
    use TileMatmulKind::{Cmma, Mma};
    // TRIAL: by name from the environment.
    let names = std::env::var("CONTEXTLM_PRODUCT").unwrap_or_else(|_| "ordered_mma_8_2_2,simple_mma_multi".into());
    let one = |name: &str| -> Option<Strategy> {
        let parts: Vec<&str> = name.split('_').collect();
        let number = |i: usize| parts.get(i).and_then(|p| p.parse::<u32>().ok()).unwrap_or(2);
        let kind = if parts.get(1) == Some(&"cmma") { Cmma } else { Mma };
        let double = DoubleBufferingArgs { specialized: false, tile_matmul: kind };
        let simple = SimpleArgs { multi_rows: parts.get(2) == Some(&"multi"), tile_matmul: kind };
        let levels = match (parts[0], kind) {
            ("tune", _) => return None,
            ("ordered", kind) => {
                let args = OrderedSelectionArgs {
                    row_count: Some(number(2)),
                    rows_per_plane: Some(number(3)),
                    partition_k: Some(number(4)),
                    tile_matmul: kind,
                };
                match kind {
                    Cmma => Levels::OrderedDoubleCmma(Inferred(args)),
                    _ => Levels::OrderedDoubleMma(Inferred(args)),
                }
            }
            ("double", Cmma) => Levels::DoubleCyclicCmma(Inferred(double)),
            ("double", _) => Levels::DoubleCyclicMma(Inferred(double)),
            ("doubleasync", _) => Levels::DoubleAsyncCyclicMma(Inferred(double)),
            ("doubletma", _) => Levels::DoubleTmaMma(Inferred(double)),
            ("tma", Cmma) => Levels::SimpleTmaCmma(Inferred(simple)),
            ("tma", _) => Levels::SimpleTmaMma(Inferred(simple)),
            ("spectma", Cmma) => Levels::SpecializedTmaCmma(Inferred(().into())),
            ("spectma", _) => Levels::SpecializedTmaMma(Inferred(().into())),
            ("spec", Cmma) => Levels::SpecializedCyclicCmma(Inferred(().into())),
            ("spec", _) => Levels::SpecializedCyclicMma(Inferred(().into())),
            ("simple", Cmma) => Levels::SimpleCyclicCmma(Inferred(simple)),
            ("simple", _) => Levels::SimpleCyclicMma(Inferred(simple)),
            _ => return None,
        };
        Some(levels.into())
    };
    names.split(',').filter_map(one).collect()
}

/// The type as CubeCL names it.
pub(super) fn elem(dtype: DType) -> ElemType {
    match dtype {
        DType::F64 => ElemType::Float(FloatKind::F64),
        DType::BF16 => ElemType::Float(FloatKind::BF16),
        DType::F16 => ElemType::Float(FloatKind::F16),
        DType::I64 => ElemType::Int(IntKind::I64),
        DType::I32 => ElemType::Int(IntKind::I32),
        _ => ElemType::Float(FloatKind::F32),
    }
}
