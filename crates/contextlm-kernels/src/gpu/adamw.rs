//! A step of AdamW, in the memory of the parameter and its moments.

use burn::backend::TensorMetadata;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::rows::{Rows, a_cube_a_row, vector_size};
use crate::adamw::Factors;

/// Units of a cube, a vector each.
const UNITS: u32 = 256;

#[cube(launch_unchecked)]
fn adamw_kernel<N: Size>(
    x: &mut Tensor<Vector<f32, N>>,
    gradient: &Tensor<Vector<f32, N>>,
    m: &mut Tensor<Vector<f32, N>>,
    v: &mut Tensor<Vector<f32, N>>,
    count: usize,
    vectors: usize,
    x_stride: usize,
    gradient_stride: usize,
    m_stride: usize,
    v_stride: usize,
    beta_1: f32,
    beta_2: f32,
    left_1: f32,
    left_2: f32,
    eps: f32,
    lr: f32,
    kept: f32,
) {
    let number = CUBE_POS * CUBE_DIM as usize + UNIT_POS as usize;
    if number >= count {
        terminate!();
    }
    let (row, at) = (number / vectors, number % vectors);
    let g = gradient[row * gradient_stride + at];
    let of_m = m[row * m_stride + at] * Vector::new(beta_1) + g * Vector::new(1.0f32 - beta_1);
    let of_v = v[row * v_stride + at] * Vector::new(beta_2) + g * g * Vector::new(1.0f32 - beta_2);
    let root = Vector::sqrt(of_v / Vector::new(left_2)) + Vector::new(eps);
    let update = of_m / Vector::new(left_1) / root;
    m[row * m_stride + at] = of_m;
    v[row * v_stride + at] = of_v;
    x[row * x_stride + at] = x[row * x_stride + at] * Vector::new(kept) - update * Vector::new(lr);
}

/// [`gpu_adamw`](super::GpuOps::gpu_adamw).
pub(super) fn step(
    x: CubeTensor,
    gradient: CubeTensor,
    m: CubeTensor,
    v: CubeTensor,
    factors: Factors,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    if x.shape().num_elements() == 0 {
        return (x, m, v);
    }
    let [x, m, v] = [x, m, v].map(|tensor| Rows::of(owned(tensor)));
    let gradient = Rows::of(gradient);
    let n = vector_size(4, &[x.width, x.stride, gradient.stride, m.stride, v.stride]);
    let count = x.rows * x.width / n;
    let client = x.tensor.client.clone();
    let results = (x.tensor.clone(), m.tensor.clone(), v.tensor.clone());
    let Factors { beta_1, beta_2, left: [left_1, left_2], eps, lr, kept } = factors;
    // Every index is below the rows and the width of tensors of one shape, which the caller has checked; an element is read and
    // written by one unit.
    #[allow(unsafe_code)]
    unsafe {
        adamw_kernel::launch_unchecked(
            &client,
            a_cube_a_row(count.div_ceil(UNITS as usize)),
            CubeDim::new_1d(UNITS),
            n,
            x.tensor.into_tensor_arg(),
            gradient.tensor.into_tensor_arg(),
            m.tensor.into_tensor_arg(),
            v.tensor.into_tensor_arg(),
            count,
            x.width / n,
            x.stride / n,
            gradient.stride / n,
            m.stride / n,
            v.stride / n,
            beta_1,
            beta_2,
            left_1,
            left_2,
            eps,
            lr,
            kept,
        );
    }
    results
}

/// A tensor that nobody else holds.
pub(super) fn owned(tensor: CubeTensor) -> CubeTensor {
    if tensor.can_mut() && tensor.is_nonoverlapping() { tensor } else { tensor.copy() }
}
