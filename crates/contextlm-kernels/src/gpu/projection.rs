//! Queries, keys and values out of a projection, turned by their positions on the way, and their gradients back into one.
//!
//! burn's slices copy the parts element by element where they do not begin at a multiple of 256 bytes or so, as those of
//! GPT-NeoX's heads do not, and it puts gradients together one by one.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::rotary::{Angles, UNITS, turn};
use super::rows::{a_cube_a_row, begin, elem, into_contiguous_rows, new_like, vector_size, with_whole_rows};
use crate::QkvOrder;

/// From [B, T, 3*H*Dh] to three times [B, H, T, Dh].
#[cube(launch_unchecked)]
fn apart_kernel<E: Float, N: Size>(
    all: &Tensor<Vector<E, N>>,
    cos: &Tensor<Vector<f32, N>>,
    sin: &Tensor<Vector<f32, N>>,
    q: &mut Tensor<Vector<E, N>>,
    k: &mut Tensor<Vector<E, N>>,
    v: &mut Tensor<Vector<E, N>>,
    entries: usize,
    length: usize,
    row_stride: usize,
    entry_stride: usize,
    angle_entries: usize,
    angle_stride: usize,
    #[comptime] heads: usize,
    #[comptime] half: usize,
    #[comptime] rest: usize,
    #[comptime] part_step: usize,
    #[comptime] head_step: usize,
    #[define(E)] _dtype: ElemType,
) {
    let place = CUBE_POS;
    if place >= entries {
        terminate!();
    }
    let (row, entry) = (place / length, place % length);
    let entry_from = row * row_stride + entry * entry_stride;
    let angle = (place % angle_entries) * angle_stride;
    let of_head = comptime!(half + rest);
    let width = comptime!(half + half + rest);
    let count = comptime!(3 * heads * (half + rest));
    let mut at = UNIT_POS as usize;
    while at < count {
        let (slot, i) = (at / of_head, at % of_head);
        let (part, head) = (slot / heads, slot % heads);
        let from = entry_from + part * part_step + head * head_step;
        let to = ((row * heads + head) * length + entry) * width;
        if i < half {
            let (first, second) = (all[from + i], all[from + half + i]);
            if part == 2 {
                v[to + i] = first;
                v[to + half + i] = second;
            } else {
                let (first, second) = (Vector::<f32, N>::cast_from(first), Vector::<f32, N>::cast_from(second));
                let (first, second) = turn::<N>(first, second, cos[angle + i], sin[angle + i]);
                if part == 0 {
                    q[to + i] = Vector::cast_from(first);
                    q[to + half + i] = Vector::cast_from(second);
                } else {
                    k[to + i] = Vector::cast_from(first);
                    k[to + half + i] = Vector::cast_from(second);
                }
            }
        } else {
            let x = all[from + half + i];
            if part == 0 {
                q[to + half + i] = x;
            } else if part == 1 {
                k[to + half + i] = x;
            } else {
                v[to + half + i] = x;
            }
        }
        at += CUBE_DIM as usize;
    }
}

/// The reverse, turned back.
#[cube(launch_unchecked)]
fn together_kernel<E: Float, N: Size>(
    q: &Tensor<Vector<E, N>>,
    k: &Tensor<Vector<E, N>>,
    v: &Tensor<Vector<E, N>>,
    cos: &Tensor<Vector<f32, N>>,
    sin: &Tensor<Vector<f32, N>>,
    all: &mut Tensor<Vector<E, N>>,
    entries: usize,
    length: usize,
    angle_entries: usize,
    angle_stride: usize,
    #[comptime] heads: usize,
    #[comptime] half: usize,
    #[comptime] rest: usize,
    #[comptime] part_step: usize,
    #[comptime] head_step: usize,
    #[define(E)] _dtype: ElemType,
) {
    let place = CUBE_POS;
    if place >= entries {
        terminate!();
    }
    let (row, entry) = (place / length, place % length);
    let angle = (place % angle_entries) * angle_stride;
    let of_head = comptime!(half + rest);
    let width = comptime!(half + half + rest);
    let count = comptime!(3 * heads * (half + rest));
    let entry_to = place * comptime!(3 * heads * (half + half + rest));
    let mut at = UNIT_POS as usize;
    while at < count {
        let (slot, i) = (at / of_head, at % of_head);
        let (part, head) = (slot / heads, slot % heads);
        let from = ((row * heads + head) * length + entry) * width;
        let to = entry_to + part * part_step + head * head_step;
        if i < half {
            if part == 2 {
                all[to + i] = v[from + i];
                all[to + half + i] = v[from + half + i];
            } else {
                let mut first = q[from + i];
                let mut second = q[from + half + i];
                if part == 1 {
                    first = k[from + i];
                    second = k[from + half + i];
                }
                let (first, second) = (Vector::<f32, N>::cast_from(first), Vector::<f32, N>::cast_from(second));
                let back = Vector::<f32, N>::new(-1.0f32);
                let (first, second) = turn::<N>(first, second, cos[angle + i], sin[angle + i] * back);
                all[to + i] = Vector::cast_from(first);
                all[to + half + i] = Vector::cast_from(second);
            }
        } else {
            if part == 0 {
                all[to + half + i] = q[from + half + i];
            } else if part == 1 {
                all[to + half + i] = k[from + half + i];
            } else {
                all[to + half + i] = v[from + half + i];
            }
        }
        at += CUBE_DIM as usize;
    }
}

/// The angles, and what a vector must divide for heads of a width.
fn angles(cos: CubeTensor, sin: CubeTensor, turned: bool, width: usize) -> (Angles, Vec<usize>) {
    if !turned {
        // A stand-in of one vector, which nobody reads.
        let none = new_like(&cos, Shape::new([8]), DType::F32);
        return (Angles { cos: none.clone(), sin: none, entries: 1, half: 0 }, vec![width]);
    }
    let angles = Angles::of(cos, sin);
    let steps = [&[width - 2 * angles.half][..], &angles.steps()].concat();
    (angles, steps)
}

/// [`gpu_apart`](super::GpuOps::gpu_apart).
pub(super) fn apart(
    all: CubeTensor,
    cos: CubeTensor,
    sin: CubeTensor,
    heads: usize,
    order: QkvOrder,
    turned: bool,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let ([rows, length, columns], dtype) = (all.shape().dims(), all.dtype);
    let width = columns / 3 / heads;
    let all = with_whole_rows(all);
    let [row_stride, entry_stride] = [0, 1].map(|at| all.meta.strides()[at]);
    let (Angles { cos, sin, entries, half }, mut lengths) = angles(cos, sin, turned, width);
    lengths.extend([row_stride, entry_stride, begin(&all)]);
    let n = vector_size(dtype.size(), &lengths);
    let [part_step, head_step] = order.steps(heads, width).map(|step| step / n);
    let [q, k, v] = [0; 3].map(|_| new_like(&all, Shape::new([rows, heads, length, width]), dtype));
    let (client, results) = (all.client.clone(), (q.clone(), k.clone(), v.clone()));
    // Every index is below the entries, heads and dimensions of the projection; the angles have as many entries, or those of
    // one row, which the caller has checked.
    #[allow(unsafe_code)]
    unsafe {
        apart_kernel::launch_unchecked(
            &client,
            a_cube_a_row(rows * length),
            CubeDim::new_1d(UNITS),
            n,
            all.into_tensor_arg(),
            cos.into_tensor_arg(),
            sin.into_tensor_arg(),
            q.into_tensor_arg(),
            k.into_tensor_arg(),
            v.into_tensor_arg(),
            rows * length,
            length,
            row_stride / n,
            entry_stride / n,
            entries,
            2 * half / n,
            heads,
            half / n,
            (width - 2 * half) / n,
            part_step,
            head_step,
            elem(dtype),
        );
    }
    results
}

/// [`gpu_together`](super::GpuOps::gpu_together).
pub(super) fn together(
    parts: [CubeTensor; 3],
    cos: CubeTensor,
    sin: CubeTensor,
    order: QkvOrder,
    turned: bool,
) -> CubeTensor {
    let [q, k, v] = parts.map(into_contiguous_rows);
    let ([rows, heads, length, width], dtype) = (q.shape().dims(), q.dtype);
    let (Angles { cos, sin, entries, half }, mut lengths) = angles(cos, sin, turned, width);
    lengths.extend([&q, &k, &v].map(begin));
    let n = vector_size(dtype.size(), &lengths);
    let [part_step, head_step] = order.steps(heads, width).map(|step| step / n);
    let all = new_like(&q, Shape::new([rows, length, 3 * heads * width]), dtype);
    let (client, result) = (all.client.clone(), all.clone());
    // As above.
    #[allow(unsafe_code)]
    unsafe {
        together_kernel::launch_unchecked(
            &client,
            a_cube_a_row(rows * length),
            CubeDim::new_1d(UNITS),
            n,
            q.into_tensor_arg(),
            k.into_tensor_arg(),
            v.into_tensor_arg(),
            cos.into_tensor_arg(),
            sin.into_tensor_arg(),
            all.into_tensor_arg(),
            rows * length,
            length,
            entries,
            2 * half / n,
            heads,
            half / n,
            (width - 2 * half) / n,
            part_step,
            head_step,
            elem(dtype),
        );
    }
    result
}
