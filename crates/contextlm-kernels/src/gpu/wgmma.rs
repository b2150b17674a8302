//! Matrix products by `wgmma`, the instruction that NVIDIA's Hopper has for them, on tiles that TMA brings to shared memory.
//!
//! None of cubek's kernels uses it, and its instructions of single planes reach a third of what the card does. CubeCL has no
//! name for it either, so it is written as PTX ([`instruction`]), which CubeCL's C++ compiler takes and its LLVM does not:
//! hence the feature `cuda-cpp`.

mod instruction;
mod kernel;
mod parts;

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::features::Tma;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::cubecl::zspace::{shape, strides};
use burn_cubecl::tensor::CubeTensor;

use self::kernel::{DEPTH, Tiles, UNITS, parts_kernel, product_kernel};
use super::needed::{Needed, ROWS};
use super::rows::{elem, new_like};

/// Cubes that a multiprocessor has at once: their tiles fill two fifths of its shared memory each.
const CUBES: usize = 2;

/// Multiprocessors of an H100, for a driver that does not tell.
const PROCESSORS: u32 = 132;

/// Tiles along the inner dimension that a cube has at least, where several share it.
const BLOCKS: usize = 8;

/// The most matrices of a product: the second dimension of a grid.
const MATRICES: usize = 65535;

/// Whether the device has the instruction. Blackwell, which has TMA too, does not: it alone loads wide images.
pub(super) fn runs_on(client: &Client) -> bool {
    let tma = client.properties().features.tma;
    tma.contains(Tma::Base) && !tma.contains(Tma::Im2colWide)
}

/// x y in bf16 or f16, for operands whose rows or columns begin at multiples of 16 bytes: columns of x where it is
/// [K, M] in memory, rows of y where it is [K, N]. None for more dimensions than four, or too many matrices. What is not
/// `needed` of it is not written.
pub(super) fn product(
    x: &CubeTensor,
    y: &CubeTensor,
    x_columns: bool,
    y_rows: bool,
    needed: Needed,
) -> Option<CubeTensor> {
    let (mut dims, of_y) = (x.shape(), y.shape());
    let rank = dims.num_dims();
    let matrices: usize = (0..rank - 2).map(|at| dims[at]).product();
    let fit = of_y.num_dims() == rank && (0..rank - 2).all(|at| dims[at] == of_y[at]);
    if rank > 4 || matrices > MATRICES || !fit {
        return None;
    }
    let (m, k, n) = (dims[rank - 2], dims[rank - 1], of_y[rank - 1]);
    let columns = if n <= 64 { 64 } else { 128 };
    let (high, wide) = (m.div_ceil(ROWS), n.div_ceil(columns));
    // Scores have a short inner dimension; and what is left out of them must not be added up.
    let parts = match matrices == 1 && needed != Needed::BelowDiagonal {
        true => parts_of(x, high * wide, k.div_ceil(DEPTH)),
        false => 1,
    };
    let blocks = k.div_ceil(DEPTH).div_ceil(parts);
    // The last of them has some tiles, too.
    let parts = k.div_ceil(DEPTH).div_ceil(blocks);
    dims[rank - 1] = n;
    let out = match parts {
        1 => new_like(x, dims.clone(), x.dtype),
        _ => new_like(x, Shape::new([parts, m, n]), DType::F32),
    };
    let tiles = Tiles { columns, x_columns, y_rows, brain: x.dtype == DType::BF16, down: high < wide, needed };
    let (client, result, sums) = (out.client.clone(), out.clone(), columns / 2);
    let address = out.required_address_type();
    let count = CubeCount::Static((high * wide) as u32, matrices as u32, parts as u32);
    let (units, inner) = (CubeDim::new_1d(UNITS), if rank > 2 { dims[rank - 3] } else { 1 });
    let of_x = map(x, [rank - 1, rank - 2], x_columns, ROWS);
    let of_y = map(y, [rank - 2, rank - 1], y_rows, columns);
    let (to, elem) = (out.into_tensor_arg(), elem(x.dtype));
    let [m, n, blocks, inner] = [m, n, blocks, inner].map(|number| number as u32);
    // TMA reads nothing outside of an operand, and what is written is below m and n. Both kernels wait for their tiles.
    #[allow(unsafe_code)]
    unsafe {
        if parts > 1 {
            let pairs = if n.is_multiple_of(2) { 2 } else { 1 };
            parts_kernel::launch_unchecked(
                &client, count, units, address, sums, pairs, of_x, of_y, to, m, n, blocks, inner, tiles, elem,
            );
            return Some(parts::sum(result, dims, x.dtype));
        }
        let vector = [8, 2].into_iter().find(|size| n.is_multiple_of(*size)).unwrap_or(1) as usize;
        product_kernel::launch_unchecked(
            &client, count, units, address, sums, vector, of_x, of_y, to, m, n, blocks, inner, tiles, elem,
        );
    }
    Some(result)
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
