//! A single row times a matrix, which is what decoding multiplies: every number of the matrix is read once, in f32 by units
//! that multiply by themselves, as the matrix units have nothing to share.
//!
//! burn tunes those kernels of cubek that can do it for every width of the matrix, and in f32 takes TF32 for some.

use burn::backend::TensorMetadata;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::matrices::{Layout, as_matrices};
use super::rows::{GRID, begin, elem, new_like, vector_size, with_whole_rows};

/// Units of a plane, on the devices that these kernels are for.
const PLANE: u32 = 32;

/// Planes that share the depth where rows lie together, each with every 32nd row.
const LANES: u32 = 32;

/// Planes of a cube where columns lie together, each with one of them.
const PLANES: u32 = 8;

/// What a unit reads at once of rows, in bytes: a plane reads enough of them then, and there are more cubes.
const BYTES: usize = 4;

/// Strides of one of the operands, in what the kernel reads at once.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Strides {
    outer: usize,
    inner: usize,
    /// Of the row's numbers, or of the matrix' rows or columns.
    line: usize,
}

#[cube]
fn place(strides: &Strides, inner: usize) -> usize {
    let matrix = CUBE_POS_Y as usize;
    (matrix / inner) * strides.outer + (matrix % inner) * strides.inner
}

/// N columns a unit.
#[cube(launch_unchecked, address_type = "dynamic")]
fn rows_kernel<E: Float, N: Size>(
    x: &Tensor<E>,
    y: &Tensor<Vector<E, N>>,
    out: &mut Tensor<Vector<E, N>>,
    of_x: Strides,
    of_y: Strides,
    inner: usize,
    depth: usize,
    vectors: usize,
    #[define(E)] _dtype: ElemType,
) {
    let column = (CUBE_POS_X * PLANE + UNIT_POS_X) as usize;
    let (x_from, y_from) = (place(&of_x, inner), place(&of_y, inner));
    let mut sum = Vector::<f32, N>::new(0.0f32);
    if column < vectors {
        let mut at = UNIT_POS_Y as usize;
        while at < depth {
            let factor = Vector::<f32, N>::new(f32::cast_from(x[x_from + at * of_x.line]));
            sum += factor * Vector::cast_from(y[y_from + at * of_y.line + column]);
            at += LANES as usize;
        }
    }
    let mut sums = Shared::<[Vector<f32, N>]>::new_slice(comptime!((LANES * PLANE) as usize));
    sums[(UNIT_POS_Y * PLANE + UNIT_POS_X) as usize] = sum;
    sync_cube();
    if UNIT_POS_Y == 0 && column < vectors {
        for lane in 1..LANES {
            sum += sums[(lane * PLANE + UNIT_POS_X) as usize];
        }
        out[CUBE_POS_Y as usize * vectors + column] = Vector::cast_from(sum);
    }
}

/// A column a plane, N of its numbers a unit at once.
#[cube(launch_unchecked, address_type = "dynamic")]
fn columns_kernel<E: Float, N: Size>(
    x: &Tensor<Vector<E, N>>,
    y: &Tensor<Vector<E, N>>,
    out: &mut Tensor<E>,
    of_x: Strides,
    of_y: Strides,
    inner: usize,
    vectors: usize,
    columns: usize,
    #[define(E)] _dtype: ElemType,
) {
    let column = (CUBE_POS_X * PLANES + UNIT_POS_Y) as usize;
    // The whole plane.
    if column >= columns {
        terminate!();
    }
    let x_from = place(&of_x, inner);
    let y_from = place(&of_y, inner) + column * of_y.line;
    let mut sums = Vector::<f32, N>::new(0.0f32);
    let mut at = UNIT_POS_X as usize;
    while at < vectors {
        sums += Vector::<f32, N>::cast_from(x[x_from + at]) * Vector::cast_from(y[y_from + at]);
        at += PLANE as usize;
    }
    let mut sum = 0.0f32;
    #[unroll]
    for i in 0..sums.vector_size() {
        sum += sums.extract(i);
    }
    let sum = plane_sum(sum);
    if UNIT_POS_X == 0 {
        out[CUBE_POS_Y as usize * columns + column] = E::cast_from(sum);
    }
}

/// x y for x [..., 1, K] and y [..., K, N] of two to four dimensions, in one of f32, bf16 and f16; none for more dimensions, or
/// more matrices than a grid has.
pub(super) fn product(x: &CubeTensor, y: &CubeTensor) -> Option<CubeTensor> {
    let (mut shape, of_y) = (x.shape(), y.shape());
    let last = shape.num_dims() - 1;
    let (depth, columns) = (shape[last], of_y[last]);
    shape[last] = columns;
    let matrices = shape.num_elements() / columns.max(1);
    if last > 3 || matrices > GRID {
        return None;
    }
    let (x, _) = as_matrices(&with_whole_rows(x.clone()));
    let (y, layout) = as_matrices(y);
    let out = new_like(&x, shape, x.dtype);
    let (client, result, inner) = (out.client.clone(), out.clone(), x.meta.shape()[1]);
    let address = y.required_address_type().max(x.required_address_type()).max(out.required_address_type());
    let steps = |of: &CubeTensor, line: usize| [0, 1, line].map(|at| of.meta.strides()[at]);
    let (dtype, size) = (elem(x.dtype), x.dtype.size());
    let cubes =
        |lines: usize, of_cube: u32| CubeCount::Static(lines.div_ceil(of_cube as usize) as u32, matrices as u32, 1);
    // Every index is below the sizes that come with it.
    #[allow(unsafe_code)]
    unsafe {
        match layout {
            Layout::Rows => {
                let (of_x, of_y) = (steps(&x, 3), steps(&y, 2));
                let n = vector_size(size * 16 / BYTES, &[columns, of_y[0], of_y[1], of_y[2], begin(&y)]);
                rows_kernel::launch_unchecked(
                    &client,
                    cubes(columns / n, PLANE),
                    CubeDim::new_2d(PLANE, LANES),
                    address,
                    n,
                    x.into_tensor_arg(),
                    y.into_tensor_arg(),
                    out.into_tensor_arg(),
                    strides(of_x, 1),
                    strides(of_y, n),
                    inner,
                    depth,
                    columns / n,
                    dtype,
                );
            }
            Layout::Columns => {
                let ([x_outer, x_inner, _], of_y) = (steps(&x, 3), steps(&y, 3));
                let lengths = [depth, x_outer, x_inner, begin(&x), of_y[0], of_y[1], of_y[2], begin(&y)];
                let n = vector_size(size, &lengths);
                columns_kernel::launch_unchecked(
                    &client,
                    cubes(columns, PLANES),
                    CubeDim::new_2d(PLANE, PLANES),
                    address,
                    n,
                    x.into_tensor_arg(),
                    y.into_tensor_arg(),
                    out.into_tensor_arg(),
                    strides([x_outer, x_inner, n], n),
                    strides(of_y, n),
                    inner,
                    depth / n,
                    columns,
                    dtype,
                );
            }
        }
    }
    Some(result)
}

fn strides([outer, inner, line]: [usize; 3], n: usize) -> StridesLaunch {
    StridesLaunch::new(outer / n, inner / n, line / n)
}
