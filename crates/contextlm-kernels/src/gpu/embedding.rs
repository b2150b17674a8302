//! The gradient of an embedding table, a cube for every row of it.
//!
//! burn's goes over the tokens one by one with as many units as a row has elements, a few hundred of the card's thousands.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::rows::{Rows, a_cube_a_row, elem, new_like, vector_size};

/// Units of a cube.
const UNITS: u32 = 128;

#[cube(launch_unchecked)]
fn embedding_kernel<I: Int, N: Size>(
    upstream: &Tensor<Vector<f32, N>>,
    numbers: &Tensor<I>,
    out: &mut Tensor<Vector<f32, N>>,
    entries: usize,
    tokens: usize,
    vectors: usize,
    stride: usize,
    #[comptime] units: u32,
    #[define(I)] _dtype: ElemType,
) {
    let entry = CUBE_POS;
    if entry >= entries {
        terminate!();
    }
    // How many of the tokens that a unit looks at are this entry.
    let mut uses = Shared::<[u32]>::new_slice(units as usize);
    let mut found = 0u32;
    let mut token = UNIT_POS as usize;
    while token < tokens {
        if usize::cast_from(numbers[token]) == entry {
            found += 1u32;
        }
        token += units as usize;
    }
    uses[UNIT_POS as usize] = found;
    sync_cube();
    // Every unit adds up its columns over all uses, in one order.
    let mut at = UNIT_POS as usize;
    while at < vectors {
        let mut sum = Vector::<f32, N>::new(0.0f32);
        for unit in 0..units as usize {
            if uses[unit] > 0u32 {
                let mut token = unit;
                while token < tokens {
                    if usize::cast_from(numbers[token]) == entry {
                        sum += upstream[token * stride + at];
                    }
                    token += units as usize;
                }
            }
        }
        out[entry * vectors + at] = sum;
        at += units as usize;
    }
}

/// [`gpu_embedding_backward`](super::GpuOps::gpu_embedding_backward).
pub(super) fn backward(upstream: CubeTensor, numbers: CubeTensor, entries: usize) -> CubeTensor {
    let upstream = Rows::of(upstream);
    let numbers = into_contiguous(numbers);
    let tokens = numbers.shape().num_elements();
    // Without gaps between its rows, whatever its shape.
    let numbers = burn_cubecl::ops::reshape(numbers, Shape::new([tokens]));
    let out = new_like(&upstream.tensor, Shape::new([entries, upstream.width]), DType::F32);
    let n = vector_size(4, &[upstream.width, upstream.stride]);
    let (client, result) = (out.client.clone(), out.clone());
    let of_numbers = elem(numbers.dtype);
    // Every index is below the tokens, the entries and the width.
    #[allow(unsafe_code)]
    unsafe {
        embedding_kernel::launch_unchecked(
            &client,
            a_cube_a_row(entries),
            CubeDim::new_1d(UNITS),
            n,
            upstream.tensor.into_tensor_arg(),
            numbers.into_tensor_arg(),
            out.into_tensor_arg(),
            entries,
            tokens,
            upstream.width / n,
            upstream.stride / n,
            UNITS,
            of_numbers,
        );
    }
    result
}
