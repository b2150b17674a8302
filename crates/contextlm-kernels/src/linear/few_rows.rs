//! Products of a few rows, as decoding token by token needs them: every weight is read once, in the order of memory, and
//! the time is that of reading.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// A number as weights are stored; all arithmetic is in f32.
pub(super) trait Stored: Copy + Send + Sync {
    /// The weights in f32, in `room` where they are not that already.
    fn widen<'a>(weights: &'a [Self], room: &'a mut Vec<f32>) -> &'a [f32];
}

impl Stored for f32 {
    #[inline(always)]
    fn widen<'a>(weights: &'a [Self], _room: &'a mut Vec<f32>) -> &'a [f32] {
        weights
    }
}

impl Stored for bf16 {
    #[inline(always)]
    fn widen<'a>(weights: &'a [Self], room: &'a mut Vec<f32>) -> &'a [f32] {
        room.clear();
        room.extend(weights.iter().map(|weight| f32::from_bits(u32::from(weight.to_bits()) << 16)));
        room
    }
}

impl Stored for f16 {
    #[inline(always)]
    fn widen<'a>(weights: &'a [Self], room: &'a mut Vec<f32>) -> &'a [f32] {
        room.resize(weights.len(), 0.0);
        weights.convert_to_f32_slice(room);
        room
    }
}

/// How the weight [inputs, outputs] lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The outputs of an input side by side; this many numbers from one input to the next.
    Inputs(usize),
    /// The inputs of an output side by side; this many numbers from one output to the next.
    Outputs(usize),
}

/// Inputs whose weights are read side by side, so that a sum is read and written once for all of them.
const INPUTS: usize = 8;
/// Outputs whose weights stay in the first cache while several rows of x meet them.
const TILE: usize = 1024;
/// Weights of one task, at most: enough that a thread does not wait for the next one.
const TASK: usize = 256 * 1024;
/// Tasks come in multiples of this, so that two or four threads end together.
const TASKS: usize = 4;

/// x W for x [rows, inputs] without gaps, as [rows, outputs].
///
/// Tasks and the order of all sums follow from the shapes alone, so that the result does not depend on the number of
/// threads.
pub(super) fn product<E: Stored>(x: &[f32], weight: &[E], order: Order, rows: usize, outputs: usize) -> Vec<f32> {
    match order {
        Order::Inputs(stride) => by_inputs(x, weight, stride, rows, outputs),
        Order::Outputs(stride) => by_outputs(x, weight, stride, rows, outputs),
    }
}

/// Number of tasks for that many weights; one if threads would cost more than they save.
fn tasks(weights: usize) -> usize {
    if weights <= TASK / TASKS { 1 } else { weights.div_ceil(TASK).next_multiple_of(TASKS) }
}

/// A task is a run of inputs with all their weights, one piece of memory. It has sums of its own, which are added up in
/// the end.
fn by_inputs<E: Stored>(x: &[f32], weight: &[E], stride: usize, rows: usize, outputs: usize) -> Vec<f32> {
    let (arch, inputs, size) = (Arch::new(), x.len() / rows, rows * outputs);
    let part = inputs.div_ceil(tasks(inputs * outputs)).next_multiple_of(INPUTS);
    let run = |(task, sums): (usize, &mut [f32])| {
        let range = task * part..inputs.min((task + 1) * part);
        arch.dispatch(AddInputs { x, weight, stride, sums, inputs, outputs, range });
    };
    let mut sums = vec![0.0; inputs.div_ceil(part) * size];
    match inputs <= part {
        true => sums.chunks_mut(size).enumerate().for_each(run),
        false => sums.par_chunks_mut(size).enumerate().for_each(run),
    }
    let (out, others) = sums.split_at_mut(size);
    for sums in others.chunks_exact(size) {
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
    }
    sums.truncate(size);
    sums
}

/// Adds the shares of some inputs to `sums`, [rows, outputs].
struct AddInputs<'a, E> {
    x: &'a [f32],
    weight: &'a [E],
    stride: usize,
    sums: &'a mut [f32],
    inputs: usize,
    outputs: usize,
    range: std::ops::Range<usize>,
}

impl<E: Stored> WithSimd for AddInputs<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, weight, stride, sums, inputs, outputs, range } = self;
        let mut rooms: [Vec<f32>; INPUTS] = Default::default();
        let tile = if x.len() == inputs { outputs } else { TILE };
        for start in range.clone().step_by(INPUTS) {
            // What is missing at the end counts nothing: its factors are 0, and its weights are those of the last input.
            let input = |j: usize| (start + j).min(range.end - 1);
            for from in (0..outputs).step_by(tile) {
                let to = outputs.min(from + tile);
                let mut j = 0;
                let weights = rooms.each_mut().map(|room| {
                    let at = input(j) * stride;
                    j += 1;
                    E::widen(&weight[at + from..at + to], room)
                });
                for (x, sums) in x.chunks_exact(inputs).zip(sums.chunks_exact_mut(outputs)) {
                    let factor = |j| if start + j < range.end { x[start + j] } else { 0.0 };
                    add(simd, &mut sums[from..to], std::array::from_fn(factor), weights);
                }
            }
        }
    }
}

/// Adds to every sum its weights times the factors.
#[inline(always)]
fn add<S: Simd>(simd: S, sums: &mut [f32], factors: [f32; INPUTS], weights: [&[f32]; INPUTS]) {
    let (vectors, rest) = S::as_mut_simd_f32s(sums);
    let weights = weights.map(S::as_simd_f32s);
    let bodies = weights.map(|(vectors_of_row, _)| &vectors_of_row[..vectors.len()]);
    let splat = factors.map(|factor| simd.splat_f32s(factor));
    for (v, sum) in vectors.iter_mut().enumerate() {
        let mut even = simd.mul_add_f32s(splat[0], bodies[0][v], *sum);
        let mut odd = simd.mul_f32s(splat[1], bodies[1][v]);
        for j in (2..INPUTS).step_by(2) {
            even = simd.mul_add_f32s(splat[j], bodies[j][v], even);
            odd = simd.mul_add_f32s(splat[j + 1], bodies[j + 1][v], odd);
        }
        *sum = simd.add_f32s(even, odd);
    }
    for (lane, sum) in rest.iter_mut().enumerate() {
        *sum += (0..INPUTS).map(|j| factors[j] * weights[j].1[lane]).sum::<f32>();
    }
}

/// A task is a run of outputs with all their weights, one piece of memory.
fn by_outputs<E: Stored>(x: &[f32], weight: &[E], stride: usize, rows: usize, outputs: usize) -> Vec<f32> {
    let (arch, inputs) = (Arch::new(), x.len() / rows);
    in_runs_of_outputs(rows, outputs, inputs * outputs, |first, products| {
        let weight = &weight[first * stride..];
        arch.dispatch(MultiplyOutputs { x, weight, stride, products, rows });
    })
}

/// [rows, outputs], made by tasks that each fill the products [outputs, rows] of a run of outputs, given its first one.
pub(crate) fn in_runs_of_outputs(
    rows: usize,
    outputs: usize,
    weights: usize,
    fill: impl Fn(usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let part = outputs.div_ceil(tasks(weights)).max(1);
    let run = |(task, products): (usize, &mut [f32])| fill(task * part, products);
    let mut products = vec![0.0; rows * outputs]; // [outputs, rows]: a task's are side by side
    match outputs <= part {
        true => products.chunks_mut(part * rows).enumerate().for_each(run),
        false => products.par_chunks_mut(part * rows).enumerate().for_each(run),
    }
    if rows == 1 {
        return products;
    }
    (0..rows).flat_map(|row| products.iter().skip(row).step_by(rows)).copied().collect()
}

/// Products of x with some outputs' weights, [outputs, rows].
struct MultiplyOutputs<'a, E> {
    x: &'a [f32],
    weight: &'a [E],
    stride: usize,
    products: &'a mut [f32],
    rows: usize,
}

impl<E: Stored> WithSimd for MultiplyOutputs<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, weight, stride, products, rows } = self;
        let inputs = x.len() / rows;
        let mut room = Vec::new();
        for (output, products) in products.chunks_exact_mut(rows).enumerate() {
            let weights = E::widen(&weight[output * stride..][..inputs], &mut room);
            for (x, product) in x.chunks_exact(inputs).zip(products) {
                *product = dot(simd, x, weights);
            }
        }
    }
}

#[inline(always)]
fn dot<S: Simd>(simd: S, x: &[f32], weights: &[f32]) -> f32 {
    let ((vectors, rest), (weights, weights_rest)) = (S::as_simd_f32s(x), S::as_simd_f32s(weights));
    let mut sum = simd.splat_f32s(0.0);
    for (x, weight) in vectors.iter().zip(weights) {
        sum = simd.mul_add_f32s(*x, *weight, sum);
    }
    let rest: f32 = rest.iter().zip(weights_rest).map(|(x, weight)| x * weight).sum();
    simd.reduce_sum_f32s(sum) + rest
}
