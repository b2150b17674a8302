//! Sums of the columns of a matrix, as the gradients of biases are.

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::rows::{Rows, elem, new_like, vector_size};

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

/// [`gpu_column_sums`](super::GpuOps::gpu_column_sums).
pub(super) fn columns(x: CubeTensor) -> CubeTensor {
    let dtype = x.dtype;
    let x = Rows::of(x);
    let parts = parts(x.rows);
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

/// Runs of rows for so many rows.
pub(super) fn parts(rows: usize) -> usize {
    rows.div_ceil(rows.div_ceil(PARTS).max(1)).max(1)
}
