//! Upstream times output, summed over every head: what the gradient of a softmax takes off, a unit for a head of an entry.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::rows::{a_cube_a_row, begin, elem, new_like, vector_size, with_whole_rows};

/// Units of a cube. Neighbours have neighbouring heads, which lie side by side.
const UNITS: u32 = 128;

#[cube(launch_unchecked)]
fn along_kernel<E: Float, F: Float, N: Size>(
    upstream: &Tensor<Vector<E, N>>,
    out: &Tensor<Vector<F, N>>,
    along: &mut Tensor<f32>,
    count: usize,
    length: usize,
    heads: usize,
    upstream_row: usize,
    upstream_entry: usize,
    out_row: usize,
    out_entry: usize,
    #[comptime] vectors: usize,
    #[define(E, F)] _dtypes: [ElemType; 2],
) {
    let number = CUBE_POS * CUBE_DIM as usize + UNIT_POS as usize;
    if number >= count {
        terminate!();
    }
    let (place, head) = (number / heads, number % heads);
    let (row, entry) = (place / length, place % length);
    let of_upstream = row * upstream_row + entry * upstream_entry + head * vectors;
    let of_out = row * out_row + entry * out_entry + head * vectors;
    // Number by number: `vector_sum` of eight is wrong on WGSL, whose vectors have four.
    let mut sum = 0.0f32;
    for at in 0..vectors {
        let x = Vector::<f32, N>::cast_from(upstream[of_upstream + at]);
        let product = x * Vector::<f32, N>::cast_from(out[of_out + at]);
        #[unroll]
        for i in 0..product.vector_size() {
            sum += product.extract(i);
        }
    }
    along[(row * heads + head) * length + entry] = sum;
}

/// The sum of upstream times out over the dimensions of every head, both [B, T, H*Dh]: [B, H, T, 1], f32.
pub(super) fn along(upstream: CubeTensor, out: CubeTensor, heads: usize) -> CubeTensor {
    let [rows, length, columns] = out.shape().dims();
    let width = columns / heads;
    let [upstream, out] = [upstream, out].map(with_whole_rows);
    let steps = |x: &CubeTensor| [0, 1].map(|at| x.meta.strides()[at]);
    let ([upstream_row, upstream_entry], [out_row, out_entry]) = (steps(&upstream), steps(&out));
    let lengths = [width, upstream_row, upstream_entry, out_row, out_entry, begin(&upstream), begin(&out)];
    let n = vector_size(upstream.dtype.size().max(out.dtype.size()), &lengths);
    let along = new_like(&out, Shape::new([rows, heads, length, 1]), DType::F32);
    let (client, result) = (along.client.clone(), along.clone());
    let count = rows * length * heads;
    let dtypes = [elem(upstream.dtype), elem(out.dtype)];
    // Every index is below the rows, entries and heads of tensors of one shape, which the caller has checked.
    #[allow(unsafe_code)]
    unsafe {
        along_kernel::launch_unchecked(
            &client,
            a_cube_a_row(count.div_ceil(UNITS as usize)),
            CubeDim::new_1d(UNITS),
            n,
            upstream.into_tensor_arg(),
            out.into_tensor_arg(),
            along.into_tensor_arg(),
            count,
            length,
            heads,
            upstream_row / n,
            upstream_entry / n,
            out_row / n,
            out_entry / n,
            width / n,
            dtypes,
        );
    }
    result
}
