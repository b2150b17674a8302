//! Losses of rows of logits and the gradient of the logits, a cube for every row.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::rows::{LOWEST, Rows, Units, a_cube_a_row, elem, larger, new_like, of_all_units, vector_size};

/// Planes of a cube: a row is often of fifty thousand logits.
const PLANES: u32 = 16;

#[cube(launch_unchecked)]
fn loss_kernel<E: Float, I: Int, N: Size>(
    logits: &Tensor<Vector<E, N>>,
    targets: &Tensor<I>,
    losses: &mut Tensor<f32>,
    squares: &mut Tensor<f32>,
    gradient: &mut Tensor<Vector<E, N>>,
    z_loss: f32,
    rows: usize,
    vocabulary: usize,
    vectors: usize,
    stride: usize,
    gradient_stride: usize,
    #[comptime] slots: u32,
    #[comptime] by_planes: bool,
    #[comptime] wanted: bool,
    #[define(E, I)] _dtypes: [ElemType; 2],
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let from = row * stride;
    let mut max = f32::new(LOWEST);
    let mut sum = 0.0f32;
    let mut at = UNIT_POS as usize;
    while at < vectors {
        let x = Vector::<f32, N>::cast_from(logits[from + at]);
        let size = x.vector_size();
        let mut of_vector = max;
        #[unroll]
        for i in 0..size {
            let x = select(at * size + i < vocabulary, x.extract(i), f32::new(LOWEST));
            of_vector = larger(of_vector, x);
        }
        sum *= f32::exp(max - of_vector);
        max = of_vector;
        #[unroll]
        for i in 0..size {
            sum += select(at * size + i < vocabulary, f32::exp(x.extract(i) - max), 0.0f32);
        }
        at += CUBE_DIM as usize;
    }
    let (max, sum) = of_all_units(max, sum, slots, by_planes);
    let log_sum = max + f32::ln(sum);
    let target = i32::cast_from(targets[row]);
    let counts = target >= 0 && usize::cast_from(target) < vocabulary;
    let place = select(counts, u32::cast_from(target), 0u32) as usize;
    if UNIT_POS == 0 {
        let size = logits.vector_size();
        let of_target = f32::cast_from(logits[from + place / size].extract_dynamic(place % size));
        losses[row] = select(counts, log_sum - of_target, 0.0f32);
        squares[row] = select(counts, log_sum * log_sum, 0.0f32);
    }
    if wanted {
        let weight = select(counts, 1.0f32 + 2.0f32 * z_loss * log_sum, 0.0f32);
        let hot = select(counts, 1.0f32, 0.0f32);
        let to = row * gradient_stride;
        let mut at = UNIT_POS as usize;
        while at < vectors {
            let x = Vector::<f32, N>::cast_from(logits[from + at]);
            let size = x.vector_size();
            let mut out = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for i in 0..size {
                let column = at * size + i;
                let p = select(column < vocabulary, f32::exp(x.extract(i) - log_sum) * weight, 0.0f32);
                out.insert(i, p - select(column == place, hot, 0.0f32));
            }
            gradient[to + at] = Vector::cast_from(out);
            at += CUBE_DIM as usize;
        }
    }
}

/// [`gpu_losses_with_gradient`](super::GpuOps::gpu_losses_with_gradient); without one the gradient is of one number.
pub(super) fn losses(
    logits: CubeTensor,
    targets: CubeTensor,
    vocabulary: usize,
    z_loss: f32,
    wanted: bool,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let (shape, dtype) = (logits.shape(), logits.dtype);
    let logits = Rows::of(logits);
    let targets = into_contiguous(targets);
    let of_rows = Shape::new([logits.rows, 1]);
    let losses = new_like(&logits.tensor, of_rows.clone(), DType::F32);
    let squares = new_like(&logits.tensor, of_rows, DType::F32);
    let gradient = new_like(&logits.tensor, if wanted { shape } else { Shape::new([1, 8]) }, dtype);
    let n = vector_size(dtype.size(), &[logits.width, logits.stride]);
    let client = losses.client.clone();
    let units = Units::of(&client, PLANES);
    let results = (losses.clone(), squares.clone(), gradient.clone());
    let dtypes = [elem(dtype), elem(targets.dtype)];
    // Every index is below the rows and the width; a target that is not in the vocabulary counts as ignored.
    #[allow(unsafe_code)]
    unsafe {
        loss_kernel::launch_unchecked(
            &client,
            a_cube_a_row(logits.rows),
            units.dim,
            n,
            logits.tensor.into_tensor_arg(),
            targets.into_tensor_arg(),
            losses.into_tensor_arg(),
            squares.into_tensor_arg(),
            gradient.into_tensor_arg(),
            z_loss,
            logits.rows,
            vocabulary,
            logits.width / n,
            logits.stride / n,
            logits.width / n,
            units.slots,
            units.by_planes,
            wanted,
            dtypes,
        );
    }
    results
}
