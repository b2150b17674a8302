//! Matrix products in bf16 and f16 by kernels that are chosen here. burn tunes: it compiles and runs up to twenty candidates
//! for every kind of product, two seconds each, and takes the first that comes near an estimate of the device's speed, which
//! is seldom a good one.
//!
//! On NVIDIA's Hopper and with the feature `cuda-cpp` that is a kernel of our own, `wgmma.rs`. Elsewhere, where there is TMA, it
//! is, by layout, the best of those of `cubek` that were timed on an H100 on 2026-11-26; docs/src/cuda.md has them.
//! Where they are not meant to run (no TMA, as on wgpu and on GPUs before NVIDIA's Hopper; a small product; rows that do not
//! begin at 16 bytes; shapes unlike those that were timed) and in f32, burn tunes. What a launch refuses at once goes to burn
//! too; what the driver refuses later, as tiles that are too large, would not, and none of those chosen asks for that.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl::features::Tma;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::ops::reshape;
use burn_cubecl::tensor::CubeTensor;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy as Levels;
use cubek::matmul::multi_level::components::tile::TileMatmulKind;
use cubek::matmul::multi_level::routines::batch::double_buffering::DoubleBufferingArgs;
use cubek::matmul::multi_level::routines::batch::simple::SimpleArgs;
use cubek::matmul::multi_level::routines::batch::specialized::SpecializedStrategy;
use cubek::matmul::routine::BlueprintStrategy::Inferred;
use cubek::std::InputBinding;

use super::needed::Needed;
use super::rows::{elem, new_like};
#[cfg(feature = "cuda-cpp")]
use super::wgmma;

/// Products with a dimension below it are left to burn.
const SMALL: usize = 32;

/// What TMA, the unit that loads tiles into shared memory, wants addresses to be multiples of, in bytes.
pub(super) const ALIGNED: usize = 16;

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
    if let Some(out) = chosen(&x, &y) {
        return out;
    }
    let dtype = x.dtype;
    match matmul(x, y, None, MatmulStrategy::default(), dtype) {
        Ok(out) => out,
        Err(error) => unreachable!("burn multiplies everything: {error:?}"),
    }
}

/// What is needed of a product, and nothing else: none, for less than all, where that cannot be left out.
pub(super) fn part(x: CubeTensor, y: CubeTensor, needed: Needed) -> Option<CubeTensor> {
    match needed {
        Needed::All => Some(product(x, y)),
        #[cfg(feature = "cuda-cpp")]
        needed => ours(&x, &y, needed),
        #[cfg(not(feature = "cuda-cpp"))]
        _ => None,
    }
}

/// The product by the kernel for its layout, if that can run.
fn chosen(x: &CubeTensor, y: &CubeTensor) -> Option<CubeTensor> {
    let (of_x, of_y) = layouts(x, y)?;
    #[cfg(feature = "cuda-cpp")]
    if let Some(out) = ours(x, y, Needed::All) {
        return Some(out);
    }
    let (mut shape, dtype) = (x.shape(), x.dtype);
    let rank = shape.num_dims();
    let strategy = strategy(of_x, of_y, shape[rank - 1])?;
    shape[rank - 1] = y.shape()[rank - 1];
    let out = new_like(x, shape, dtype);
    let elem = elem(dtype);
    let mut elems = MatmulElems::from_globals(&MatmulGlobalElems { lhs: elem, rhs: elem, out: elem });
    let [of_x, of_y] = [x, y].map(|operand| InputBinding::new(operand.clone().binding(), elem));
    let to = out.clone().binding();
    launch_ref(&strategy.into(), &out.client, of_x, of_y, to, &mut elems).ok().map(|()| out)
}

/// What is needed of the product, by the kernel of our own, if that can run.
#[cfg(feature = "cuda-cpp")]
fn ours(x: &CubeTensor, y: &CubeTensor, needed: Needed) -> Option<CubeTensor> {
    let (of_x, of_y) = layouts(x, y)?;
    match wgmma::runs_on(&x.client) {
        true => wgmma::product(x, y, of_x == Layout::Columns, of_y == Layout::Rows, needed),
        false => None,
    }
}

/// The layouts of both factors, if the product is one for a chosen kernel.
fn layouts(x: &CubeTensor, y: &CubeTensor) -> Option<(Layout, Layout)> {
    let dtype = x.dtype;
    let has_tma = x.client.properties().features.tma.contains(Tma::Base);
    if !has_tma || !matches!(dtype, DType::BF16 | DType::F16) || y.dtype != dtype {
        return None;
    }
    let (shape, of_y) = (x.shape(), y.shape());
    let rank = shape.num_dims();
    let (m, k, n) = (shape[rank - 2], shape[rank - 1], of_y[rank - 1]);
    if m.min(n).min(k) < SMALL {
        return None;
    }
    Some((layout(x)?, layout(y)?))
}

/// x as several products read it best: where each of them would copy it, without gaps and in the order of its dimensions.
pub(super) fn factor(x: CubeTensor) -> CubeTensor {
    #[cfg(feature = "cuda-cpp")]
    if wgmma::runs_on(&x.client) && matches!(x.dtype, DType::BF16 | DType::F16) && layout(&x).is_some() {
        return x;
    }
    into_contiguous(x)
}

/// Which of the last two dimensions lies together in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    Rows,
    Columns,
}

/// That of an operand; none for one whose rows, or columns, do not begin at multiples of 16 bytes.
fn layout(operand: &CubeTensor) -> Option<Layout> {
    if operand.meta.is_tiled() {
        return None;
    }
    let (shape, strides) = (operand.meta.shape(), operand.meta.strides());
    let step = ALIGNED / operand.dtype.size();
    let rank = shape.num_dims();
    let (layout, within) = match (strides[rank - 2], strides[rank - 1]) {
        (1, _) => (Layout::Columns, rank - 2),
        (_, 1) => (Layout::Rows, rank - 1),
        _ => return None,
    };
    let others = (0..rank).filter(|at| *at != within && shape[*at] > 1);
    // An operand that must be copied first is copied without gaps, hence its length too.
    let steps = others.map(|at| strides[at]).chain([shape[within]]);
    let begins = operand.handle.offset_start.unwrap_or(0) % ALIGNED as u64;
    let aligned = begins == 0 && steps.into_iter().all(|step_of| step_of > 0 && step_of.is_multiple_of(step));
    aligned.then_some(layout)
}

/// In TFLOP/s, for GPT-2 124M with 8 x 1024 tokens: x W 180 to 226, x W^T 210 to 212, x^T W 58 (a gradient of 768 x 768) to 203;
/// attention of heads 64 wide: 84 to 122.
fn strategy(x: Layout, y: Layout, k: usize) -> Option<Levels> {
    /// Of k, a multiple of which the second kernel was measured with.
    const STAGE: usize = 64;
    match (x, y) {
        (Layout::Rows, Layout::Columns) => {
            let args = SimpleArgs { multi_rows: true, tile_matmul: TileMatmulKind::Cmma };
            Some(Levels::SimpleTmaCmma(Inferred(args)))
        }
        (Layout::Rows, Layout::Rows) if k.is_multiple_of(STAGE) => {
            let args = DoubleBufferingArgs { specialized: false, tile_matmul: TileMatmulKind::Mma };
            Some(Levels::DoubleAsyncStridedMma(Inferred(args)))
        }
        (Layout::Columns, Layout::Rows) => {
            let args = SpecializedStrategy { tile_matmul: TileMatmulKind::Mma };
            Some(Levels::SpecializedTmaMma(Inferred(args)))
        }
        // Not timed.
        (Layout::Rows, Layout::Rows) | (Layout::Columns, Layout::Columns) => None,
    }
}
