//! Matrix products by kernels that are chosen here. burn tunes: it compiles and runs up to twenty candidates for every kind of
//! product, two seconds each, and takes the first that comes near an estimate of the device's speed, which is seldom a good
//! one; and in f32 it rounds to TF32, which has 10 bits of mantissa instead of 23.
//!
//! On NVIDIA's Hopper and with the feature `cuda-cpp` products are by a kernel of our own, `wgmma.rs`, but those of a single
//! row, `vector.rs`, which all of NVIDIA's GPUs since Ampere take. Elsewhere among these, f32 is multiplied by units and not by
//! matrix units. In bf16 and f16, where there is TMA, it is, by layout, the best of those of `cubek` that were timed on an H100
//! on 2026-11-26; docs/src/cuda.md has them. Where they are not meant to run (no TMA; a small product; rows that do not begin
//! at 16 bytes; shapes unlike those that were timed), and on other GPUs, burn tunes. What a launch refuses at once goes to burn
//! too; what the driver refuses later, as tiles that are too large, would not, and none of those chosen asks for that.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::features::Tma;
use burn_cubecl::cubecl::ir::{ElemType, FloatKind};
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

use super::matrices::{Layout, ends_aligned, layout};
use super::needed::Needed;
use super::reads;
use super::rows::{elem, new_like};
use super::vector;
#[cfg(feature = "cuda-cpp")]
use super::wgmma;

/// Products with a dimension below it are not left to cubek's kernels with TMA.
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
        needed if is_for_cuda(&x, &y) => ours(&x, &y, needed),
        _ => None,
    }
}

/// The product by the kernel for it, if there is one.
fn chosen(x: &CubeTensor, y: &CubeTensor) -> Option<CubeTensor> {
    if !is_for_cuda(x, y) {
        return None;
    }
    let (of_x, of_y) = (x.shape(), y.shape());
    let rank = of_x.num_dims();
    if of_x[rank - 2] == 1
        && let Some(out) = vector::product(x, y)
    {
        return Some(out);
    }
    #[cfg(feature = "cuda-cpp")]
    if let Some(out) = ours(x, y, Needed::All) {
        return Some(out);
    }
    let strategy = match x.dtype {
        DType::F32 => Levels::SimpleUnit(Inferred(Default::default())),
        _ => with_tma(x, y, of_x[rank - 2], of_y[rank - 1])?,
    };
    launch(strategy, x, y)
}

/// What is needed of the product, by the kernel of our own, if that can run.
#[cfg(feature = "cuda-cpp")]
fn ours(x: &CubeTensor, y: &CubeTensor, needed: Needed) -> Option<CubeTensor> {
    if wgmma::runs_on(&x.client) { wgmma::product(x, y, needed) } else { None }
}

/// Whether there are numbers to multiply, of one type that kernels for NVIDIA's GPUs read, on such a GPU: no other has TF32, which
/// they have since Ampere.
fn is_for_cuda(x: &CubeTensor, y: &CubeTensor) -> bool {
    let any = x.shape().num_elements() > 0 && y.shape().num_elements() > 0;
    let floats = x.dtype == y.dtype && reads(x.dtype);
    any && floats && has_tf32(&x.client)
}

fn has_tf32(client: &Client) -> bool {
    client.properties().supports_type(ElemType::Float(FloatKind::TF32))
}

/// Whether burn tunes the products in f32 of a device.
pub(crate) fn tunes_f32(device: &CubeDevice) -> bool {
    !has_tf32(&device.client())
}

/// The product by one of cubek's kernels, if it takes the operands.
fn launch(strategy: Levels, x: &CubeTensor, y: &CubeTensor) -> Option<CubeTensor> {
    let (mut shape, of_y) = (x.shape(), y.shape());
    let last = shape.num_dims() - 1;
    shape[last] = of_y[last];
    let out = new_like(x, shape, x.dtype);
    let elem = elem(x.dtype);
    let mut elems = MatmulElems::from_globals(&MatmulGlobalElems { lhs: elem, rhs: elem, out: elem });
    let [of_x, of_y] = [x, y].map(|operand| InputBinding::new(operand.clone().binding(), elem));
    let to = out.clone().binding();
    launch_ref(&strategy.into(), &out.client, of_x, of_y, to, &mut elems).ok().map(|()| out)
}

/// x as several products read it best: where each of them would copy it, without gaps and in the order of its dimensions.
pub(super) fn factor(x: CubeTensor) -> CubeTensor {
    #[cfg(feature = "cuda-cpp")]
    if wgmma::runs_on(&x.client) && wgmma::reads(&x) {
        return x;
    }
    into_contiguous(x)
}

/// In TFLOP/s, for GPT-2 124M with 8 x 1024 tokens: x W 180 to 226, x W^T 210 to 212, x^T W 58 (a gradient of 768 x 768) to 203;
/// attention of heads 64 wide: 84 to 122.
fn with_tma(x: &CubeTensor, y: &CubeTensor, m: usize, n: usize) -> Option<Levels> {
    /// Of k, a multiple of which the second kernel was measured with.
    const STAGE: usize = 64;
    let k = *x.meta.shape().iter().last()?;
    let has_tma = x.client.properties().features.tma.contains(Tma::Base);
    if !has_tma || m.min(n).min(k) < SMALL {
        return None;
    }
    let (of_x, of_y) = (layout(x)?, layout(y)?);
    if !ends_aligned(x, of_x) || !ends_aligned(y, of_y) {
        return None;
    }
    match (of_x, of_y) {
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
