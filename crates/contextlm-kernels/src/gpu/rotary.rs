//! Rotary positions, a cube for all heads of an entry.

use burn::backend::TensorMetadata;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::rows::{a_cube_a_row, begin, elem, into_contiguous_rows, new_like, vector_size, with_whole_rows};

/// Units of a cube.
pub(super) const UNITS: u32 = 128;

/// A pair of dimensions of every head, turned.
#[cube]
pub(super) fn turn<N: Size>(
    first: Vector<f32, N>,
    second: Vector<f32, N>,
    cos: Vector<f32, N>,
    sin: Vector<f32, N>,
) -> (Vector<f32, N>, Vector<f32, N>) {
    (first * cos - second * sin, second * cos + first * sin)
}

#[cube(launch_unchecked)]
fn rotary_kernel<E: Float, N: Size>(
    x: &Tensor<Vector<E, N>>,
    cos: &Tensor<Vector<f32, N>>,
    sin: &Tensor<Vector<f32, N>>,
    out: &mut Tensor<Vector<E, N>>,
    sign: f32,
    entries: usize,
    length: usize,
    heads: usize,
    row_stride: usize,
    entry_stride: usize,
    head_stride: usize,
    angle_entries: usize,
    angle_stride: usize,
    #[comptime] half: usize,
    #[comptime] rest: usize,
    #[define(E)] _dtype: ElemType,
) {
    let entry = CUBE_POS;
    if entry >= entries {
        terminate!();
    }
    let entry_from = (entry / length) * row_stride + (entry % length) * entry_stride;
    let angle = (entry % angle_entries) * angle_stride;
    let sign = Vector::<f32, N>::new(sign);
    let of_head = comptime!(half + rest);
    let width = comptime!(half + half + rest);
    let mut at = UNIT_POS as usize;
    while at < heads * of_head {
        let (head, i) = (at / of_head, at % of_head);
        let from = entry_from + head * head_stride;
        let to = (entry * heads + head) * width;
        if i < half {
            let first = Vector::<f32, N>::cast_from(x[from + i]);
            let second = Vector::<f32, N>::cast_from(x[from + half + i]);
            let (first, second) = turn::<N>(first, second, cos[angle + i], sin[angle + i] * sign);
            out[to + i] = Vector::cast_from(first);
            out[to + half + i] = Vector::cast_from(second);
        } else {
            out[to + half + i] = x[from + half + i];
        }
        at += CUBE_DIM as usize;
    }
}

/// Cosines and sines without gaps.
pub(super) struct Angles {
    pub(super) cos: CubeTensor,
    pub(super) sin: CubeTensor,
    /// Rows of both: those of all entries, or of one row of them.
    pub(super) entries: usize,
    /// R/2.
    pub(super) half: usize,
}

impl Angles {
    pub(super) fn of(cos: CubeTensor, sin: CubeTensor) -> Self {
        let shape = cos.shape();
        let rotated = shape[shape.num_dims() - 1];
        let [cos, sin] = [cos, sin].map(into_contiguous_rows);
        Self { cos, sin, entries: shape.num_elements() / rotated.max(1), half: rotated / 2 }
    }

    /// What a vector must divide for them, in elements.
    pub(super) fn steps(&self) -> [usize; 3] {
        [self.half, begin(&self.cos), begin(&self.sin)]
    }
}

/// [`gpu_rotary`](super::GpuOps::gpu_rotary).
pub(super) fn rotary(x: CubeTensor, cos: CubeTensor, sin: CubeTensor, back: bool) -> CubeTensor {
    let (shape, dtype) = (x.shape(), x.dtype);
    let [rows, length, heads, width] = shape.dims();
    let (x, angles) = (with_whole_rows(x), Angles::of(cos, sin));
    let [row, entry, head] = [0, 1, 2].map(|at| x.meta.strides()[at]);
    let rest = width - 2 * angles.half;
    let steps = [&[rest, row, entry, head, begin(&x)][..], &angles.steps()].concat();
    let n = vector_size(dtype.size(), &steps);
    let out = new_like(&x, shape, dtype);
    let (client, result) = (out.client.clone(), out.clone());
    let Angles { cos, sin, entries, half } = angles;
    // Every index is below the entries, heads and dimensions of x; the angles have as many entries, or those of one row, which
    // the caller has checked.
    #[allow(unsafe_code)]
    unsafe {
        rotary_kernel::launch_unchecked(
            &client,
            a_cube_a_row(rows * length),
            CubeDim::new_1d(UNITS),
            n,
            x.into_tensor_arg(),
            cos.into_tensor_arg(),
            sin.into_tensor_arg(),
            out.into_tensor_arg(),
            if back { -1.0 } else { 1.0 },
            rows * length,
            length,
            heads,
            row / n,
            entry / n,
            head / n,
            entries,
            2 * half / n,
            half / n,
            rest / n,
            elem(dtype),
        );
    }
    result
}
