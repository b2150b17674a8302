//! Sums of the columns of a matrix, as the gradients of biases are: of runs of its rows, and then of those.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::rows::{Rows, elem, new_like, runs, vector_size};

/// Runs of rows, at most; each has sums of its own.
const PARTS: usize = 256;

/// Units of a cube. Each adds up its columns alone.
const UNITS: u32 = 32;

#[cube(launch_unchecked)]
fn column_sums_kernel<E: Float, N: Size>(
    x: &Tensor<Vector<E, N>>,
    out: &mut Tensor<Vector<f32, N>>,
    rows: usize,
    rows_of_part: usize,
    vectors: usize,
    stride: usize,
    #[define(E)] _dtype: ElemType,
) {
    let at = (CUBE_POS_X * CUBE_DIM_X + UNIT_POS_X) as usize;
    let part = CUBE_POS_Y as usize;
    if at >= vectors {
        terminate!();
    }
    let mut row = part * rows_of_part;
    let mut end = row + rows_of_part;
    if end > rows {
        end = rows;
    }
    let mut sum = Vector::<f32, N>::new(0.0f32);
    while row < end {
        sum += Vector::<f32, N>::cast_from(x[row * stride + at]);
        row += 1;
    }
    out[part * vectors + at] = sum;
}

/// Units of a cube that have neighbouring columns of a few rows, and how many share the rows of a column.
const COLUMNS: u32 = 32;
const LANES: u32 = 8;

#[cube(launch_unchecked)]
fn few_rows_kernel(x: &Tensor<f32>, out: &mut Tensor<f32>, rows: usize, width: usize) {
    let column = (CUBE_POS_X * COLUMNS + UNIT_POS_X) as usize;
    let mut sum = 0.0f32;
    if column < width {
        let mut row = UNIT_POS_Y as usize;
        while row < rows {
            sum += x[row * width + column];
            row += LANES as usize;
        }
    }
    let mut sums = Shared::<[f32]>::new_slice(comptime!((LANES * COLUMNS) as usize));
    sums[(UNIT_POS_Y * COLUMNS + UNIT_POS_X) as usize] = sum;
    sync_cube();
    if UNIT_POS_Y == 0 && column < width {
        for lane in 1..LANES {
            sum += sums[(lane * COLUMNS + UNIT_POS_X) as usize];
        }
        out[column] = sum;
    }
}

/// The sums of the columns of a few rows without gaps, [rows, D] in f32 to [D], always in the same order. burn would tune such a
/// sum for seconds, for every width.
fn of_few_rows(x: CubeTensor) -> CubeTensor {
    let [rows, width] = x.shape().dims();
    let out = new_like(&x, Shape::new([width]), DType::F32);
    let (client, result) = (out.client.clone(), out.clone());
    // Every index is below the rows and the width of x.
    #[allow(unsafe_code)]
    unsafe {
        few_rows_kernel::launch_unchecked(
            &client,
            CubeCount::Static(width.div_ceil(COLUMNS as usize) as u32, 1, 1),
            CubeDim::new_2d(COLUMNS, LANES),
            x.into_tensor_arg(),
            out.into_tensor_arg(),
            rows,
            width,
        );
    }
    result
}

/// [`gpu_column_sums`](super::GpuOps::gpu_column_sums).
pub(super) fn columns(x: CubeTensor) -> CubeTensor {
    of_few_rows(of_runs(x))
}

/// [parts, D], f32.
fn of_runs(x: CubeTensor) -> CubeTensor {
    let dtype = x.dtype;
    let x = Rows::of(x);
    let parts = runs(x.rows, PARTS);
    let out = new_like(&x.tensor, Shape::new([parts, x.width]), DType::F32);
    let n = vector_size(4, &[x.width, x.stride]);
    let (client, result) = (out.client.clone(), out.clone());
    let cubes = (x.width / n).div_ceil(UNITS as usize) as u32;
    // Every index is below the rows and the width of x; a part's sums are its own.
    #[allow(unsafe_code)]
    unsafe {
        column_sums_kernel::launch_unchecked(
            &client,
            CubeCount::Static(cubes, parts as u32, 1),
            CubeDim::new_1d(UNITS),
            n,
            x.tensor.into_tensor_arg(),
            out.into_tensor_arg(),
            x.rows,
            x.rows.div_ceil(parts),
            x.width / n,
            x.stride / n,
            elem(dtype),
        );
    }
    result
}
