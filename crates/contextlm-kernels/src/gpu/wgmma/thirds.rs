//! f32 for an instruction that multiplies bf16: every number as the sum of three.
//!
//! A bf16 has 8 bits of mantissa, f32 has 24, so hi + mid + lo is the number itself. Of the nine products of two such sums, six
//! matter: the other three are below the last bit of the result. Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial
//! Intelligence Datatype For Higher-Precision Computations", <https://arxiv.org/abs/1904.06376>; PyTorch and XLA name two parts
//! and three products "high", three parts and six products "highest".

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::cubecl::zspace::metadata::Metadata;
use burn_cubecl::cubecl::zspace::{shape, strides};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use crate::gpu::rows::{begin, elem, new_like, vector_size};

/// Which parts of x and y are multiplied, 0 being the largest; the smallest products first, so that they are not lost in the
/// sum of the others.
const PAIRS: [(u32, u32); 6] = [(2, 0), (0, 2), (1, 1), (1, 0), (0, 1), (0, 0)];

/// How many products there are instead of one.
pub(super) const ROUNDS: u32 = PAIRS.len() as u32;

/// The parts of x and of y in every round, two bits each, as a kernel looks them up.
pub(super) const PARTS: (u32, u32) = {
    let (mut x, mut y, mut round) = (0, 0, 0);
    while round < PAIRS.len() {
        x |= PAIRS[round].0 << (2 * round);
        y |= PAIRS[round].1 << (2 * round);
        round += 1;
    }
    (x, y)
};

/// TMA wants rows to begin at multiples of 16 bytes.
const ALIGNED: usize = 8;

const UNITS: u32 = 256;

/// An operand's parts, [3 * outer, inner, A, B] in bf16, of which the columns, or else the rows, lie together as they did.
pub(super) struct Thirds {
    pub(super) parts: CubeTensor,
    pub(super) columns: bool,
}

impl Thirds {
    /// Of an operand in f32 of two to four dimensions, whatever its strides. An infinity, or more than bf16's largest number,
    /// 3.39e38, becomes NaN.
    pub(super) fn of(x: &CubeTensor) -> Self {
        let x = as_matrices(x.clone());
        let (dims, steps) = (x.meta.shape(), x.meta.strides());
        let columns = steps[3] != 1 && steps[2] == 1;
        let (slow, fast) = if columns { (3, 2) } else { (2, 3) };
        let [outer, inner, slow_count, fast_count] = [dims[0], dims[1], dims[slow], dims[fast]];
        let [of_outer, of_inner, of_slow] = [steps[0], steps[1], steps[slow]];
        let n = vector_size(4, &[fast_count, of_outer, of_inner, of_slow, begin(&x)]);
        let row = fast_count.next_multiple_of(ALIGNED);
        let out = new_like(&x, Shape::new([3 * outer, inner, slow_count, row]), DType::BF16);
        let meta = match columns {
            true => Metadata::new(
                shape![3 * outer, inner, fast_count, slow_count],
                strides![inner * slow_count * row, slow_count * row, 1, row],
            ),
            false => Metadata::new(
                shape![3 * outer, inner, slow_count, fast_count],
                strides![inner * slow_count * row, slow_count * row, row, 1],
            ),
        };
        let vectors = outer * inner * slow_count * fast_count / n;
        let client = out.client.clone();
        let parts = CubeTensor::new(client.clone(), out.handle.clone(), meta, out.device.clone(), DType::BF16);
        let address = x.required_address_type().max(out.required_address_type());
        // A unit whose vector is not there ends at once.
        #[allow(unsafe_code)]
        unsafe {
            thirds_kernel::launch_unchecked(
                &client,
                CubeCount::Static(vectors.div_ceil(UNITS as usize) as u32, 1, 1),
                CubeDim::new_1d(UNITS),
                address,
                n,
                x.into_tensor_arg(),
                out.into_tensor_arg(),
                vectors,
                inner,
                slow_count,
                fast_count / n,
                of_outer / n,
                of_inner / n,
                of_slow / n,
                row / n,
                elem(DType::BF16),
            );
        }
        Self { parts, columns }
    }
}

/// With four dimensions, one of the last two together in memory.
fn as_matrices(x: CubeTensor) -> CubeTensor {
    let rank = x.meta.num_dims();
    let steps = x.meta.strides();
    let x = match !x.meta.is_tiled() && steps[rank - 2..].contains(&1) {
        true => x,
        false => into_contiguous(x),
    };
    let (mut dims, mut steps) = (shape![1, 1, 1, 1], strides![0, 0, 0, 0]);
    for at in 0..rank {
        dims[4 - rank + at] = x.meta.shape()[at];
        steps[4 - rank + at] = x.meta.strides()[at];
    }
    CubeTensor::new(x.client.clone(), x.handle.clone(), Metadata::new(dims, steps), x.device.clone(), x.dtype)
}

/// Takes [outer, inner, slow, fast] apart, N numbers a unit; `of_...` are strides of x and `row` that of a row of the parts, all
/// in vectors.
#[cube(launch_unchecked, address_type = "dynamic")]
fn thirds_kernel<E: Float, N: Size>(
    x: &Tensor<Vector<f32, N>>,
    parts: &mut Tensor<Vector<E, N>>,
    vectors: usize,
    inner: usize,
    slow: usize,
    fast: usize,
    of_outer: usize,
    of_inner: usize,
    of_slow: usize,
    row: usize,
    #[define(E)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= vectors {
        terminate!();
    }
    let (line, at) = (ABSOLUTE_POS / fast, ABSOLUTE_POS % fast);
    let (matrix, in_matrix) = (line / slow, line % slow);
    let value = x[(matrix / inner) * of_outer + (matrix % inner) * of_inner + in_matrix * of_slow + at];
    let to = line * row + at;
    let part = (vectors / fast) * row;
    let hi = Vector::<E, N>::cast_from(value);
    // Both differences are exact.
    let rest = value - Vector::<f32, N>::cast_from(hi);
    let mid = Vector::<E, N>::cast_from(rest);
    parts[to] = hi;
    parts[part + to] = mid;
    parts[2 * part + to] = Vector::<E, N>::cast_from(rest - Vector::<f32, N>::cast_from(mid));
}
