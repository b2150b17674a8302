//! The exact GELU and its gradient of tensors in bf16 and f16, computed in f32. burn's own is five operations, each rounded to the
//! type and launched by itself: fusion makes one kernel of them in f32 alone.

use burn::backend::TensorMetadata;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::rows::{a_cube_a_row, begin, elem, into_contiguous_rows, new_like, vector_size};

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
    #[define(E)] _dtype: ElemType,
) {
    let number = CUBE_POS * CUBE_DIM as usize + UNIT_POS as usize;
    if number >= count {
        terminate!();
    }
    let x = Vector::<f32, N>::cast_from(x[number]);
    out[number] = Vector::cast_from(x * below::<N>(x));
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn gelu_backward_kernel<E: Float, N: Size>(
    x: &Tensor<Vector<E, N>>,
    upstream: &Tensor<Vector<E, N>>,
    out: &mut Tensor<Vector<E, N>>,
    count: usize,
    #[define(E)] _dtype: ElemType,
) {
    let number = CUBE_POS * CUBE_DIM as usize + UNIT_POS as usize;
    if number >= count {
        terminate!();
    }
    let x = Vector::<f32, N>::cast_from(x[number]);
    let upstream = Vector::<f32, N>::cast_from(upstream[number]);
    let density = (x * x * Vector::new(-0.5f32)).exp() * Vector::new(DENSITY);
    out[number] = Vector::cast_from(upstream * (below::<N>(x) + x * density));
}

/// [`gpu_gelu`](super::GpuOps::gpu_gelu).
pub(super) fn forward(x: CubeTensor) -> CubeTensor {
    let x = into_contiguous_rows(x);
    let (shape, elements) = (x.shape(), x.shape().num_elements());
    let out = new_like(&x, shape, x.dtype);
    let n = vector_size(x.dtype.size(), &[elements, begin(&x)]);
    let (client, result, address, dtype) = (out.client.clone(), out.clone(), x.required_address_type(), elem(x.dtype));
    // Every index is below the elements of tensors of one shape, without gaps.
    #[allow(unsafe_code)]
    unsafe {
        gelu_kernel::launch_unchecked(
            &client,
            a_cube_a_row((elements / n).div_ceil(UNITS as usize)),
            CubeDim::new_1d(UNITS),
            address,
            n,
            x.into_tensor_arg(),
            out.into_tensor_arg(),
            elements / n,
            dtype,
        );
    }
    result
}

/// [`gpu_gelu_backward`](super::GpuOps::gpu_gelu_backward).
pub(super) fn backward(x: CubeTensor, upstream: CubeTensor) -> CubeTensor {
    let [x, upstream] = [x, upstream].map(into_contiguous_rows);
    let (shape, elements) = (x.shape(), x.shape().num_elements());
    let out = new_like(&x, shape, x.dtype);
    let n = vector_size(x.dtype.size(), &[elements, begin(&x), begin(&upstream)]);
    let (client, result, dtype) = (out.client.clone(), out.clone(), elem(x.dtype));
    let address = x.required_address_type().max(upstream.required_address_type());
    // As above; the caller has checked that both are of one shape and type.
    #[allow(unsafe_code)]
    unsafe {
        gelu_backward_kernel::launch_unchecked(
            &client,
            a_cube_a_row((elements / n).div_ceil(UNITS as usize)),
            CubeDim::new_1d(UNITS),
            address,
            n,
            x.into_tensor_arg(),
            upstream.into_tensor_arg(),
            out.into_tensor_arg(),
            elements / n,
            dtype,
        );
    }
    result
}
