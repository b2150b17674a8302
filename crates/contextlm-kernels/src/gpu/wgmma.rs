//! Matrix products by `wgmma`, the instruction that NVIDIA's Hopper has for them, on tiles that TMA brings to shared memory.
//!
//! None of cubek's kernels uses it, and its instructions of single planes reach a third of what the card does. CubeCL has no
//! name for it either, so it is written as PTX ([`instruction`]), which CubeCL's C++ compiler takes and its LLVM does not:
//! hence the feature `cuda-cpp`.

mod factor;
mod instruction;
mod kernel;
mod parts;
mod thirds;

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::features::Tma;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::cubecl::zspace::{shape, strides};
use burn_cubecl::tensor::CubeTensor;

use self::factor::Factor;
use self::kernel::{DEPTH, Tiles, UNITS, parts_kernel, product_kernel};
use self::thirds::ROUNDS;
use super::matrices::{Layout, layout};
use super::needed::{Needed, ROWS};
use super::rows::{GRID, elem, new_like};

/// Cubes that a multiprocessor has at once: their tiles fill two fifths of its shared memory each.
const CUBES: usize = 2;

/// Multiprocessors of an H100, for a driver that does not tell.
const PROCESSORS: u32 = 132;

/// Tiles along the inner dimension that a cube has at least, where several share it.
const BLOCKS: usize = 8;

/// Of the inner dimension, what a cube has at most in f32: the instruction cuts its sums off where f32 rounds them, by half a
/// unit of the last place each time.
const LONGEST: usize = 4096;

/// Whether the device has the instruction. Blackwell, which has TMA too, does not: it alone loads wide images.
pub(super) fn runs_on(client: &Client) -> bool {
    let tma = client.properties().features.tma;
    tma.contains(Tma::Base) && !tma.contains(Tma::Im2colWide)
}

/// Whether products read an operand best as it lies: in f32 each of them takes it apart anyhow, an operand of two products twice.
pub(super) fn reads(x: &CubeTensor) -> bool {
    match x.dtype {
        DType::BF16 | DType::F16 => layout(x).is_some(),
        dtype => dtype == DType::F32,
    }
}

/// x y in f32, bf16 or f16, in f32 as exact as its products are, for operands of any strides. What is not `needed` of it is not
/// written. None for more dimensions than four, or too many matrices.
pub(super) fn product(x: &CubeTensor, y: &CubeTensor, needed: Needed) -> Option<CubeTensor> {
    let (mut dims, of_y) = (x.shape(), y.shape());
    let rank = dims.num_dims();
    let matrices: usize = (0..rank - 2).map(|at| dims[at]).product();
    let fit = of_y.num_dims() == rank && (0..rank - 2).all(|at| dims[at] == of_y[at]);
    dims[rank - 1] = of_y[rank - 1];
    let can = rank <= 4 && matrices <= GRID && fit;
    can.then(|| multiply(Factor::of(x), Factor::of(y), dims, x.dtype, needed))
}

/// x y, of shape `dims` and type `dtype`.
fn multiply(x: Factor, y: Factor, dims: Shape, dtype: DType, needed: Needed) -> CubeTensor {
    let (rank, thirds) = (dims.num_dims(), x.thirds);
    let (x_columns, y_rows) = (x.layout == Layout::Columns, y.layout == Layout::Rows);
    let (x, y) = (x.tensor, y.tensor);
    let (m, n) = (dims[rank - 2], dims[rank - 1]);
    let k = *x.meta.shape().iter().last().unwrap_or(&1);
    let matrices: usize = (0..rank - 2).map(|at| dims[at]).product();
    let columns = if n <= 64 { 64 } else { 128 };
    let (high, wide) = (m.div_ceil(ROWS), n.div_ceil(columns));
    let (blocks, cubes) = (k.div_ceil(DEPTH), high * wide * matrices);
    let (rounds, least) = if thirds { (ROUNDS as usize, k.div_ceil(LONGEST)) } else { (1, 1) };
    // Scores have a short inner dimension; and what is left out of them must not be added up.
    let parts = match needed {
        Needed::BelowDiagonal => 1,
        _ => parts_of(&x, cubes, blocks * rounds).max(least).min(blocks),
    };
    let blocks_of_part = blocks.div_ceil(parts);
    // The last of them has some tiles, too.
    let parts = blocks.div_ceil(blocks_of_part);
    let out = match parts {
        1 => new_like(&x, dims.clone(), dtype),
        _ => new_like(&x, Shape::new([parts, matrices * m, n]), DType::F32),
    };
    let brain = x.dtype == DType::BF16;
    let tiles = Tiles { columns, x_columns, y_rows, brain, down: high < wide, thirds, needed };
    let (client, result, sums) = (out.client.clone(), out.clone(), columns / 2);
    let address = out.required_address_type();
    let count = CubeCount::Static((high * wide) as u32, matrices as u32, parts as u32);
    let inner = if rank > 2 { dims[rank - 3] } else { 1 };
    let (units, outer) = (CubeDim::new_1d(UNITS), matrices / inner.max(1));
    // A copy has four dimensions, whatever the other operand has.
    let (last_of_x, last_of_y) = (x.meta.num_dims() - 1, y.meta.num_dims() - 1);
    let of_x = map(&x, [last_of_x, last_of_x - 1], x_columns, ROWS);
    let of_y = map(&y, [last_of_y - 1, last_of_y], y_rows, columns);
    let (to, elem) = (out.into_tensor_arg(), elem(x.dtype));
    let [m, n, blocks, inner, outer] = [m, n, blocks_of_part, inner, outer].map(|number| number as u32);
    // TMA reads nothing outside of an operand, and what is written is below m and n. Both kernels wait for their tiles.
    #[allow(unsafe_code)]
    unsafe {
        if parts > 1 || dtype == DType::F32 {
            let pairs = if n.is_multiple_of(2) { 2 } else { 1 };
            parts_kernel::launch_unchecked(
                &client, count, units, address, sums, pairs, of_x, of_y, to, m, n, blocks, inner, outer, tiles, elem,
            );
        } else {
            let vector = [8, 2].into_iter().find(|size| n.is_multiple_of(*size)).unwrap_or(1) as usize;
            product_kernel::launch_unchecked(
                &client, count, units, address, sums, vector, of_x, of_y, to, m, n, blocks, inner, outer, tiles, elem,
            );
        }
    }
    if parts > 1 { parts::sum(result, dims, dtype) } else { result }
}

/// Among how many cubes the inner dimension is shared, so that there are enough for all multiprocessors: the gradient of a
/// weight has few tiles and a long way.
fn parts_of(x: &CubeTensor, cubes: usize, blocks: usize) -> usize {
    let processors = x.client.properties().hardware.num_streaming_multiprocessors.unwrap_or(PROCESSORS) as usize;
    match cubes < processors {
        true => (CUBES * processors).div_ceil(cubes.max(1)).min(blocks / BLOCKS).max(1),
        false => 1,
    }
}

/// An operand as TMA reads it: [outer, inner, a, b] with b together in memory, in boxes that fill a tile. `depth` and `line`
/// are the dimensions that are multiplied over, and that the output has; lines lie together where they are `across`.
fn map(operand: &CubeTensor, [depth, line]: [usize; 2], across: bool, lines: usize) -> TensorMapArg<Tiled> {
    let (dims, steps) = (operand.meta.shape(), operand.meta.strides());
    // TMA wants a multiple of 16 bytes also for a distance that nobody goes.
    let step = |at: usize| if dims[at] == 1 { DEPTH } else { steps[at] };
    let outer = |from_end| dims.num_dims().checked_sub(from_end).map_or((1, DEPTH), |at: usize| (dims[at], step(at)));
    let ((outer, of_outer), (inner, of_inner)) = (outer(4), outer(3));
    let (slow, fast, lines) = if across { (depth, line, DEPTH) } else { (line, depth, lines) };
    let shape = shape![outer, inner, dims[slow], dims[fast]];
    let strides = strides![of_outer, of_inner, step(slow), 1];
    // The same elements of the same memory as the operand's own shape and strides, in another order.
    #[allow(unsafe_code)]
    let tensor = unsafe { TensorArg::from_raw_parts(operand.handle.clone(), strides, shape) };
    let args = TiledArgs { tile_size: shape![1, 1, lines, DEPTH] };
    TensorMapArg::new(args, tensor, elem(operand.dtype)).with_swizzle(TensorMapSwizzle::B128)
}
