//! Layer norm and RMS norm, a plane for every row, and their gradients, a plane for a run of rows.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::rows::{Units, a_cube_a_row, into_contiguous_rows, new_like, runs, sum_of_units, vector_size};
use super::sums::columns;

/// Planes of the backward pass, at most; each has sums of its own for the gradients of weight and bias.
const PARTS: usize = 2048;

#[cube(launch_unchecked)]
fn norm_kernel<N: Size>(
    x: &Tensor<Vector<f32, N>>,
    weight: &Tensor<Vector<f32, N>>,
    bias: &Tensor<Vector<f32, N>>,
    out: &mut Tensor<Vector<f32, N>>,
    eps: f32,
    rows: usize,
    vectors: usize,
    #[comptime] centred: bool,
    #[comptime] slots: u32,
    #[comptime] by_planes: bool,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let from = row * vectors;
    let width = f32::cast_from(vectors * x.vector_size());
    let mut mean = 0.0f32;
    if centred {
        let mut sum = Vector::<f32, N>::new(0.0f32);
        let mut at = UNIT_POS as usize;
        while at < vectors {
            sum += x[from + at];
            at += CUBE_DIM as usize;
        }
        mean = sum_of_units(sum.vector_sum(), slots, by_planes) / width;
    }
    let centre = Vector::<f32, N>::new(mean);
    let mut squares = Vector::<f32, N>::new(0.0f32);
    let mut at = UNIT_POS as usize;
    while at < vectors {
        let d = x[from + at] - centre;
        squares += d * d;
        at += CUBE_DIM as usize;
    }
    let variance = sum_of_units(squares.vector_sum(), slots, by_planes) / width;
    let scale = Vector::<f32, N>::new(1.0f32 / f32::sqrt(variance + eps));
    let mut at = UNIT_POS as usize;
    while at < vectors {
        let n = (x[from + at] - centre) * scale * weight[at];
        if centred {
            out[from + at] = n + bias[at];
        } else {
            out[from + at] = n;
        }
        at += CUBE_DIM as usize;
    }
}

#[cube(launch_unchecked)]
fn norm_backward_kernel<N: Size>(
    x: &Tensor<Vector<f32, N>>,
    weight: &Tensor<Vector<f32, N>>,
    upstream: &Tensor<Vector<f32, N>>,
    for_x: &mut Tensor<Vector<f32, N>>,
    for_weight: &mut Tensor<Vector<f32, N>>,
    for_bias: &mut Tensor<Vector<f32, N>>,
    eps: f32,
    rows: usize,
    rows_of_part: usize,
    vectors: usize,
    #[comptime] of_unit: usize,
    #[comptime] centred: bool,
    #[comptime] slots: u32,
    #[comptime] by_planes: bool,
) {
    let part = CUBE_POS;
    let zero = Vector::<f32, N>::new(0.0f32);
    let width = f32::cast_from(vectors * x.vector_size());
    let mut weight_sums = Array::<Vector<f32, N>>::new(of_unit);
    let mut bias_sums = Array::<Vector<f32, N>>::new(of_unit);
    #[unroll]
    for i in 0..of_unit {
        weight_sums[i] = zero;
        bias_sums[i] = zero;
    }
    let mut row = part * rows_of_part;
    let mut end = row + rows_of_part;
    if end > rows {
        end = rows;
    }
    while row < end {
        let from = row * vectors;
        let mut mean = 0.0f32;
        if centred {
            let mut sum = zero;
            #[unroll]
            for i in 0..of_unit {
                let at = UNIT_POS as usize + i * CUBE_DIM as usize;
                if at < vectors {
                    sum += x[from + at];
                }
            }
            mean = sum_of_units(sum.vector_sum(), slots, by_planes) / width;
        }
        let centre = Vector::<f32, N>::new(mean);
        let mut squares = zero;
        let mut g_sum = zero;
        let mut gd_sum = zero;
        #[unroll]
        for i in 0..of_unit {
            let at = UNIT_POS as usize + i * CUBE_DIM as usize;
            if at < vectors {
                let d = x[from + at] - centre;
                let g = upstream[from + at] * weight[at];
                squares += d * d;
                g_sum += g;
                gd_sum += g * d;
            }
        }
        let variance = sum_of_units(squares.vector_sum(), slots, by_planes) / width;
        let scale = 1.0f32 / f32::sqrt(variance + eps);
        let along = sum_of_units(gd_sum.vector_sum(), slots, by_planes) * scale / width;
        let mut g_mean = 0.0f32;
        if centred {
            g_mean = sum_of_units(g_sum.vector_sum(), slots, by_planes) / width;
        }
        let scale = Vector::<f32, N>::new(scale);
        let along = Vector::<f32, N>::new(along);
        let g_mean = Vector::<f32, N>::new(g_mean);
        #[unroll]
        for i in 0..of_unit {
            let at = UNIT_POS as usize + i * CUBE_DIM as usize;
            if at < vectors {
                let n = (x[from + at] - centre) * scale;
                let up = upstream[from + at];
                for_x[from + at] = (up * weight[at] - g_mean - n * along) * scale;
                weight_sums[i] += up * n;
                if centred {
                    bias_sums[i] += up;
                }
            }
        }
        row += 1;
    }
    #[unroll]
    for i in 0..of_unit {
        let at = UNIT_POS as usize + i * CUBE_DIM as usize;
        if at < vectors {
            for_weight[part * vectors + at] = weight_sums[i];
            if centred {
                for_bias[part * vectors + at] = bias_sums[i];
            }
        }
    }
}

/// [`gpu_norm`](super::GpuOps::gpu_norm).
pub(super) fn forward(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, eps: f32, centred: bool) -> CubeTensor {
    let [x, weight, bias] = [x, weight, bias].map(into_contiguous_rows);
    let shape = x.shape();
    let width = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / width.max(1);
    let n = vector_size(4, &[width]);
    let out = new_like(&x, shape, DType::F32);
    let (client, result) = (out.client.clone(), out.clone());
    let units = Units::of(&client, 1);
    // Every index is below the rows and the width of x.
    #[allow(unsafe_code)]
    unsafe {
        norm_kernel::launch_unchecked(
            &client,
            a_cube_a_row(rows),
            units.dim,
            n,
            x.into_tensor_arg(),
            weight.into_tensor_arg(),
            bias.into_tensor_arg(),
            out.into_tensor_arg(),
            eps,
            rows,
            width / n,
            centred,
            units.slots,
            units.by_planes,
        );
    }
    result
}

/// [`gpu_norm_backward`](super::GpuOps::gpu_norm_backward).
pub(super) fn backward(
    x: CubeTensor,
    weight: CubeTensor,
    upstream: CubeTensor,
    eps: f32,
    centred: bool,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [x, weight, upstream] = [x, weight, upstream].map(into_contiguous_rows);
    let shape = x.shape();
    let width = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / width.max(1);
    let n = vector_size(4, &[width]);
    let parts = runs(rows, PARTS);
    let for_x = new_like(&x, shape, DType::F32);
    let for_weight = new_like(&x, Shape::new([parts, width]), DType::F32);
    // Not written without means.
    let of_bias = if centred { Shape::new([parts, width]) } else { Shape::new([width]) };
    let for_bias = new_like(&x, of_bias, DType::F32);
    let client = for_x.client.clone();
    let results = (for_x.clone(), for_weight.clone(), for_bias.clone());
    let units = Units::of(&client, 1);
    // As above; a part's sums are its own.
    #[allow(unsafe_code)]
    unsafe {
        norm_backward_kernel::launch_unchecked(
            &client,
            CubeCount::Static(parts as u32, 1, 1),
            units.dim,
            n,
            x.into_tensor_arg(),
            weight.into_tensor_arg(),
            upstream.into_tensor_arg(),
            for_x.into_tensor_arg(),
            for_weight.into_tensor_arg(),
            for_bias.into_tensor_arg(),
            eps,
            rows,
            rows.div_ceil(parts),
            width / n,
            (width / n).div_ceil(units.count()),
            centred,
            units.slots,
            units.by_planes,
        );
    }
    let (for_x, for_weight, for_bias) = results;
    (for_x, columns(for_weight), if centred { columns(for_bias) } else { for_bias })
}
