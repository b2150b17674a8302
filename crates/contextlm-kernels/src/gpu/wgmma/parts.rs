//! What cubes that shared the inner dimension have, added up.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use crate::gpu::rows::{elem, new_like, vector_size};

const UNITS: u32 = 256;

#[cube(launch_unchecked, address_type = "dynamic")]
fn sum_kernel<O: Float, N: Size>(
    parts: &Tensor<Vector<f32, N>>,
    out: &mut Tensor<Vector<O, N>>,
    count: usize,
    vectors: usize,
    #[define(O)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= vectors {
        terminate!();
    }
    let mut sum = parts[ABSOLUTE_POS];
    for part in 1..count {
        sum += parts[part * vectors + ABSOLUTE_POS];
    }
    out[ABSOLUTE_POS] = Vector::cast_from(sum);
}

/// [parts, M, N] to M x N numbers of a shape, always in the same order.
pub(super) fn sum(parts: CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    let [count, m, n] = parts.shape().dims();
    let out = new_like(&parts, shape, dtype);
    let size = vector_size(4, &[m * n]);
    let vectors = m * n / size;
    let (client, result) = (out.client.clone(), out.clone());
    // A unit whose vector is not there ends at once.
    #[allow(unsafe_code)]
    unsafe {
        sum_kernel::launch_unchecked(
            &client,
            CubeCount::Static(vectors.div_ceil(UNITS as usize) as u32, 1, 1),
            CubeDim::new_1d(UNITS),
            parts.required_address_type(),
            size,
            parts.into_tensor_arg(),
            out.into_tensor_arg(),
            count,
            vectors,
            elem(dtype),
        );
    }
    result
}
