//! What TMA reads of an operand: the operand as it lies, or a copy whose rows begin where TMA wants them, or three copies.

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::cubecl::zspace::metadata::Metadata;
use burn_cubecl::cubecl::zspace::{shape, strides};
use burn_cubecl::tensor::CubeTensor;

use crate::gpu::matrices::{ALIGNED, Layout, as_matrices, layout, with_meta};
use crate::gpu::rows::{begin, elem, new_like, vector_size};

const UNITS: u32 = 256;

/// An operand in f32, bf16 or f16, of two to four dimensions, as it is read: in bf16 or f16.
pub(super) struct Factor {
    /// A copy has four dimensions, of f32 [3 * outer, inner, M, K], the parts of all numbers one behind the other.
    pub(super) tensor: CubeTensor,
    pub(super) layout: Layout,
    pub(super) thirds: bool,
}

impl Factor {
    /// Of an operand in f32, bf16 or f16, whatever its strides.
    pub(super) fn of(x: &CubeTensor) -> Self {
        match layout(x) {
            Some(layout) if x.dtype != DType::F32 => Self { tensor: x.clone(), layout, thirds: false },
            _ => Self::copied(x),
        }
    }

    fn copied(x: &CubeTensor) -> Self {
        let thirds = x.dtype == DType::F32;
        let (parts, dtype) = if thirds { (3, DType::BF16) } else { (1, x.dtype) };
        let (x, layout) = as_matrices(x);
        let (dims, steps) = (x.meta.shape(), x.meta.strides());
        let (slow, fast) = if layout == Layout::Columns { (3, 2) } else { (2, 3) };
        let [outer, inner, lines, width] = [dims[0], dims[1], dims[slow], dims[fast]];
        let [of_outer, of_inner, of_line] = [steps[0], steps[1], steps[slow]];
        let line = width.next_multiple_of(ALIGNED / dtype.size());
        let out = new_like(&x, Shape::new([parts * outer, inner, lines, line]), dtype);
        let mut meta = Metadata::new(
            shape![parts * outer, inner, lines, width],
            strides![inner * lines * line, lines * line, line, 1],
        );
        if layout == Layout::Columns {
            meta.swap(2, 3);
        }
        let tensor = with_meta(&out, meta);
        let n = vector_size(4, &[width, of_outer, of_inner, of_line, begin(&x)]);
        let vectors = outer * inner * lines * width / n;
        let address = x.required_address_type().max(out.required_address_type());
        let (client, of_x) = (out.client.clone(), elem(x.dtype));
        // A unit whose vector is not there ends at once.
        #[allow(unsafe_code)]
        unsafe {
            copy_kernel::launch_unchecked(
                &client,
                CubeCount::Static(vectors.div_ceil(UNITS as usize) as u32, 1, 1),
                CubeDim::new_1d(UNITS),
                address,
                n,
                x.into_tensor_arg(),
                out.into_tensor_arg(),
                vectors,
                inner,
                lines,
                width / n,
                of_outer / n,
                of_inner / n,
                of_line / n,
                line / n,
                thirds,
                [of_x, elem(dtype)],
            );
        }
        Self { tensor, layout, thirds }
    }
}

/// Copies [outer, inner, lines, width], N numbers a unit, or takes them apart in three. `of_...` are strides of x and `line` that
/// of a line of the copy, all in vectors.
#[cube(launch_unchecked, address_type = "dynamic")]
fn copy_kernel<E: Float, F: Float, N: Size>(
    x: &Tensor<Vector<E, N>>,
    copy: &mut Tensor<Vector<F, N>>,
    vectors: usize,
    inner: usize,
    lines: usize,
    width: usize,
    of_outer: usize,
    of_inner: usize,
    of_line: usize,
    line: usize,
    #[comptime] thirds: bool,
    #[define(E, F)] _dtypes: [ElemType; 2],
) {
    if ABSOLUTE_POS >= vectors {
        terminate!();
    }
    let (number, at) = (ABSOLUTE_POS / width, ABSOLUTE_POS % width);
    let (matrix, of_matrix) = (number / lines, number % lines);
    let value = x[(matrix / inner) * of_outer + (matrix % inner) * of_inner + of_matrix * of_line + at];
    let to = number * line + at;
    let hi = Vector::<F, N>::cast_from(value);
    copy[to] = hi;
    if comptime!(thirds) {
        let part = (vectors / width) * line;
        // Both differences are exact.
        let rest = Vector::<f32, N>::cast_from(value) - Vector::<f32, N>::cast_from(hi);
        let mid = Vector::<F, N>::cast_from(rest);
        copy[part + to] = mid;
        copy[2 * part + to] = Vector::<F, N>::cast_from(rest - Vector::<f32, N>::cast_from(mid));
    }
}
