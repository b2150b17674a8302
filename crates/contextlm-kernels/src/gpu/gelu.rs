//! The exact GELU and its gradient of tensors in bf16 and f16, computed in f32. burn's own is five operations, each rounded to the
//! type and launched by itself: fusion makes one kernel of them in f32 alone.

use burn::backend::TensorMetadata;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::rows::{Rows, a_cube_a_row, begin, elem, new_like, vector_size};

/// Units of a cube, a vector each.
const UNITS: u32 = 256;

/// 1 / sqrt(2).
const ROOT: f32 = core::f32::consts::FRAC_1_SQRT_2;

/// 1 / sqrt(2 pi).
const DENSITY: f32 = 0.398_942_3;

/// How much of a normal distribution lies below x.
#[cube]
fn below<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    (Vector::erf(x * Vector::new(ROOT)) + Vector::new(1.0f32)) * Vector::new(0.5f32)
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn gelu_kernel<E: Float, N: Size>(
    x: &Tensor<Vector<E, N>>,
    out: &mut Tensor<Vector<E, N>>,
    count: usize,
    vectors: usize,
    stride: usize,
    #[define(E)] _dtype: ElemType,
) {
    let number = CUBE_POS * CUBE_DIM as usize + UNIT_POS as usize;
    if number >= count {
        terminate!();
    }
    let x = Vector::<f32, N>::cast_from(x[(number / vectors) * stride + number % vectors]);
    out[number] = Vector::cast_from(x * below::<N>(x));
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn gelu_backward_kernel<E: Float, N: Size>(
    x: &Tensor<Vector<E, N>>,
    upstream: &Tensor<Vector<E, N>>,
    out: &mut Tensor<Vector<E, N>>,
    count: usize,
    vectors: usize,
    stride: usize,
    upstream_stride: usize,
    #[define(E)] _dtype: ElemType,
) {
    let number = CUBE_POS * CUBE_DIM as usize + UNIT_POS as usize;
    if number >= count {
        terminate!();
    }
    let (row, at) = (number / vectors, number % vectors);
    let x = Vector::<f32, N>::cast_from(x[row * stride + at]);
    let upstream = Vector::<f32, N>::cast_from(upstream[row * upstream_stride + at]);
    let density = (x * x * Vector::new(-0.5f32)).exp() * Vector::new(DENSITY);
    out[number] = Vector::cast_from(upstream * (below::<N>(x) + x * density));
}

/// [`gpu_gelu`](super::GpuOps::gpu_gelu).
pub(super) fn forward(x: CubeTensor) -> CubeTensor {
    let (shape, dtype) = (x.shape(), x.dtype);
    let x = Rows::of(x);
    let out = new_like(&x.tensor, shape, dtype);
    let n = vector_size(dtype.size(), &[x.width, x.stride, begin(&x.tensor)]);
    let (client, result, count) = (out.client.clone(), out.clone(), x.rows * x.width / n);
    let address = x.tensor.required_address_type().max(out.required_address_type());
    // Every index is below the rows and the width of tensors of one shape.
    #[allow(unsafe_code)]
    unsafe {
        gelu_kernel::launch_unchecked(
            &client,
            a_cube_a_row(count.div_ceil(UNITS as usize)),
            CubeDim::new_1d(UNITS),
            address,
            n,
            x.tensor.into_tensor_arg(),
            out.into_tensor_arg(),
            count,
            x.width / n,
            x.stride / n,
            elem(dtype),
        );
    }
    result
}

/// [`gpu_gelu_backward`](super::GpuOps::gpu_gelu_backward).
pub(super) fn backward(x: CubeTensor, upstream: CubeTensor) -> CubeTensor {
    let (shape, dtype) = (x.shape(), x.dtype);
    let (x, upstream) = (Rows::of(x), Rows::of(upstream));
    let out = new_like(&x.tensor, shape, dtype);
    let lengths = [x.width, x.stride, upstream.stride, begin(&x.tensor), begin(&upstream.tensor)];
    let n = vector_size(dtype.size(), &lengths);
    let (client, result, count) = (out.client.clone(), out.clone(), x.rows * x.width / n);
    let address = x.tensor.required_address_type().max(upstream.tensor.required_address_type());
    let address = address.max(out.required_address_type());
    // As above; the caller has checked that both are of one shape and type.
    #[allow(unsafe_code)]
    unsafe {
        gelu_backward_kernel::launch_unchecked(
            &client,
            a_cube_a_row(count.div_ceil(UNITS as usize)),
            CubeDim::new_1d(UNITS),
            address,
            n,
            x.tensor.into_tensor_arg(),
            upstream.tensor.into_tensor_arg(),
            out.into_tensor_arg(),
            count,
            x.width / n,
            x.stride / n,
            upstream.stride / n,
            elem(dtype),
        );
    }
    result
}
