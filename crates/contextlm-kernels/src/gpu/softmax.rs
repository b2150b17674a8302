//! Softmax of attention scores and its gradient, a cube for every row of scores.

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::needed::ROWS;
use super::rows::{LOWEST, Rows, Units, a_cube_a_row, elem, larger, new_like, of_all_units, vector_size};

/// Planes of a cube: a row is often of a thousand scores.
const PLANES: u32 = 4;

#[cube(launch_unchecked, address_type = "dynamic")]
fn softmax_kernel<E: Float, N: Size>(
    scores: &Tensor<Vector<E, N>>,
    bias: &Tensor<Vector<f32, N>>,
    out: &mut Tensor<Vector<E, N>>,
    sums: &mut Tensor<f32>,
    scale: f32,
    rows: usize,
    vectors: usize,
    scores_stride: usize,
    out_stride: usize,
    bias_stride: usize,
    queries: usize,
    rows_of_bias: usize,
    #[comptime] slots: u32,
    #[comptime] by_planes: bool,
    #[comptime] causal: bool,
    #[define(E)] _dtype: ElemType,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let (read, written) = ends::<N>(row % queries, vectors, causal);
    let bias_row = (row / rows_of_bias) * queries + row % queries;
    let from = row * scores_stride;
    let bias_from = bias_row * bias_stride;
    let factor = Vector::<f32, N>::new(scale);
    let mut max = f32::new(LOWEST);
    let mut sum = 0.0f32;
    let mut at = UNIT_POS as usize;
    while at < read {
        let x = Vector::<f32, N>::cast_from(scores[from + at]) * factor + bias[bias_from + at];
        let mut of_vector = max;
        #[unroll]
        for i in 0..x.vector_size() {
            of_vector = larger(of_vector, x.extract(i));
        }
        sum *= f32::exp(max - of_vector);
        max = of_vector;
        #[unroll]
        for i in 0..x.vector_size() {
            sum += f32::exp(x.extract(i) - max);
        }
        at += CUBE_DIM as usize;
    }
    let (max, sum) = of_all_units(max, sum, slots, by_planes);
    let log_sum = max + f32::ln(sum);
    if UNIT_POS == 0 {
        sums[row] = log_sum;
    }
    let log_sum = Vector::<f32, N>::new(log_sum);
    let to = row * out_stride;
    let mut at = UNIT_POS as usize;
    while at < read {
        let x = Vector::<f32, N>::cast_from(scores[from + at]) * factor + bias[bias_from + at];
        out[to + at] = Vector::cast_from((x - log_sum).exp());
        at += CUBE_DIM as usize;
    }
    if causal {
        while at < written {
            out[to + at] = Vector::cast_from(Vector::<f32, N>::new(0.0f32));
            at += CUBE_DIM as usize;
        }
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn softmax_backward_kernel<E: Float, N: Size>(
    scores: &Tensor<Vector<E, N>>,
    bias: &Tensor<Vector<f32, N>>,
    sums: &Tensor<f32>,
    along: &Tensor<f32>,
    for_p: &Tensor<Vector<E, N>>,
    out: &mut Tensor<Vector<E, N>>,
    for_scores: &mut Tensor<Vector<E, N>>,
    scale: f32,
    rows: usize,
    vectors: usize,
    scores_stride: usize,
    for_p_stride: usize,
    bias_stride: usize,
    out_stride: usize,
    queries: usize,
    rows_of_bias: usize,
    #[comptime] causal: bool,
    #[define(E)] _dtype: ElemType,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let (read, written) = ends::<N>(row % queries, vectors, causal);
    let bias_row = (row / rows_of_bias) * queries + row % queries;
    let factor = Vector::<f32, N>::new(scale);
    let log_sum = Vector::<f32, N>::new(sums[row]);
    let along = Vector::<f32, N>::new(along[row]);
    let mut at = UNIT_POS as usize;
    while at < read {
        let x =
            Vector::<f32, N>::cast_from(scores[row * scores_stride + at]) * factor + bias[bias_row * bias_stride + at];
        let p = (x - log_sum).exp();
        let g = Vector::<f32, N>::cast_from(for_p[row * for_p_stride + at]) - along;
        out[row * out_stride + at] = Vector::cast_from(p);
        for_scores[row * out_stride + at] = Vector::cast_from(p * g * factor);
        at += CUBE_DIM as usize;
    }
    if causal {
        while at < written {
            let zeros = Vector::cast_from(Vector::<f32, N>::new(0.0f32));
            out[row * out_stride + at] = zeros;
            for_scores[row * out_stride + at] = zeros;
            at += CUBE_DIM as usize;
        }
    }
}

/// Behind the last vectors of a query's row that are read, and that are written. `causal`, there are scores up to the query's
/// own place, the bias masking what else is in the last vector, and zeros from there to the end of its tile, which is what
/// products read ([`Needed`](super::needed::Needed)).
#[cube]
fn ends<N: Size>(query: usize, vectors: usize, #[comptime] causal: bool) -> (usize, usize) {
    let size = N::value().comptime();
    let mut read = vectors;
    let mut written = vectors;
    if causal {
        read = query / size + 1;
        let of_tile = (query / ROWS + 1) * comptime!(ROWS / size);
        if of_tile < vectors {
            written = of_tile;
        }
    }
    (read, written)
}

/// softmax(scores scale + bias) over the last dimension of scores [B, H, T, S], and the logarithm of every softmax's sum,
/// [B, H, T, 1], f32; bias [B or 1, 1, T, S], f32. `causal` (T = S), what is above the diagonal is not read, and zeros are
/// written there up to the end of a row's tile only.
pub(super) fn forward(scores: CubeTensor, bias: CubeTensor, scale: f32, causal: bool) -> (CubeTensor, CubeTensor) {
    let shape = scores.shape();
    let [_, heads, queries, _] = shape.dims();
    let dtype = scores.dtype;
    let (scores, bias) = (Rows::of(scores), Rows::of(bias));
    let out = Rows::of(new_like(&scores.tensor, shape.clone(), dtype));
    let mut of_rows = shape;
    of_rows[3] = 1;
    let sums = new_like(&scores.tensor, of_rows, DType::F32);
    let n = vector_size(dtype.size(), &[scores.width, scores.stride, bias.stride]);
    let client = sums.client.clone();
    let units = Units::of(&client, PLANES);
    let (result, sums_result) = (out.tensor.clone(), sums.clone());
    // Every index is below the rows and the width of tensors of one shape, which the caller has checked.
    #[allow(unsafe_code)]
    unsafe {
        softmax_kernel::launch_unchecked(
            &client,
            a_cube_a_row(scores.rows),
            units.dim,
            scores.tensor.required_address_type(),
            n,
            scores.tensor.into_tensor_arg(),
            bias.tensor.into_tensor_arg(),
            out.tensor.into_tensor_arg(),
            sums.into_tensor_arg(),
            scale,
            scores.rows,
            scores.width / n,
            scores.stride / n,
            out.stride / n,
            bias.stride / n,
            queries,
            rows_of_bias(bias.rows, queries, heads, scores.rows),
            units.slots,
            units.by_planes,
            causal,
            elem(dtype),
        );
    }
    (result, sums_result)
}

/// The same probabilities p, made from `sums`, and the gradient of the products that `scores` are:
/// p (for_p - along) scale, with `along` [B, H, T, 1], f32.
pub(super) fn backward(
    scores: CubeTensor,
    bias: CubeTensor,
    of_rows: [CubeTensor; 2],
    for_p: CubeTensor,
    scale: f32,
    causal: bool,
) -> (CubeTensor, CubeTensor) {
    let shape = scores.shape();
    let [_, heads, queries, _] = shape.dims();
    let dtype = scores.dtype;
    let (scores, bias, for_p) = (Rows::of(scores), Rows::of(bias), Rows::of(for_p));
    let [sums, along] = of_rows.map(burn_cubecl::kernel::into_contiguous);
    let out = Rows::of(new_like(&scores.tensor, shape.clone(), dtype));
    let for_scores = new_like(&scores.tensor, shape, dtype);
    let n = vector_size(dtype.size(), &[scores.width, scores.stride, bias.stride, for_p.stride]);
    let client = sums.client.clone();
    let units = Units::of(&client, PLANES);
    let results = (out.tensor.clone(), for_scores.clone());
    // As above.
    #[allow(unsafe_code)]
    unsafe {
        softmax_backward_kernel::launch_unchecked(
            &client,
            a_cube_a_row(scores.rows),
            units.dim,
            scores.tensor.required_address_type(),
            n,
            scores.tensor.into_tensor_arg(),
            bias.tensor.into_tensor_arg(),
            sums.into_tensor_arg(),
            along.into_tensor_arg(),
            for_p.tensor.into_tensor_arg(),
            out.tensor.into_tensor_arg(),
            for_scores.into_tensor_arg(),
            scale,
            scores.rows,
            scores.width / n,
            scores.stride / n,
            for_p.stride / n,
            bias.stride / n,
            out.stride / n,
            queries,
            rows_of_bias(bias.rows, queries, heads, scores.rows),
            causal,
            elem(dtype),
        );
    }
    results
}

/// Rows of scores that share the rows of one bias: those of a batch row, or all.
fn rows_of_bias(bias_rows: usize, queries: usize, heads: usize, rows: usize) -> usize {
    if bias_rows == queries { rows.max(1) } else { heads * queries }
}

// On wgpu: of the GPUs' backends, the one that runs without a GPU.
#[cfg(all(test, feature = "wgpu"))]
#[allow(clippy::unwrap_used)]
mod tests;
