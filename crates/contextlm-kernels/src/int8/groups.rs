//! Products of a few rows with weights of 8 bits, and weights of 8 bits as f32.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::linear::in_runs_of_outputs;

/// Weights [outputs, inputs] without gaps. Groups of inputs side by side have a scale each, in the same order.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) values: &'a [i8],
    pub(super) scales: &'a [f32],
    pub(super) inputs: usize,
}

/// More rows than are ever multiplied at once.
const ROWS: usize = 8;

impl Weights<'_> {
    /// Inputs of a group; 1 where there are no weights.
    fn group(&self) -> usize {
        (self.values.len() / self.scales.len().max(1)).max(1)
    }

    fn outputs(&self) -> usize {
        self.values.len() / self.inputs.max(1)
    }
}

/// x W^T for x [rows, inputs], at most 8 rows, as [rows, outputs].
///
/// A task is a run of outputs with all their weights. Each sum is of one thread and in the order of the inputs, so that the
/// result does not depend on the number of threads.
pub(super) fn product(x: &[f32], weights: Weights, rows: usize) -> Vec<f32> {
    let (arch, groups) = (Arch::new(), weights.inputs / weights.group());
    in_runs_of_outputs(rows, weights.outputs(), weights.values.len(), |first, products| {
        let weights = Weights {
            values: &weights.values[first * weights.inputs..],
            scales: &weights.scales[first * groups..],
            ..weights
        };
        let group = weights.inputs / groups.max(1);
        arch.dispatch(Multiply { x, weights, group, products, rows });
    })
}

/// Products of x with some outputs' weights, [outputs, rows].
struct Multiply<'a> {
    x: &'a [f32],
    weights: Weights<'a>,
    group: usize,
    products: &'a mut [f32],
    rows: usize,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, weights, group, products, rows } = self;
        // A length that the compiler knows lets it keep a group in registers.
        match group {
            64 => multiply::<S, 64>(simd, x, weights, products, rows),
            32 => multiply::<S, 32>(simd, x, weights, products, rows),
            _ => multiply::<S, 16>(simd, x, weights, products, rows),
        }
    }
}

#[inline(always)]
fn multiply<S: Simd, const GROUP: usize>(simd: S, x: &[f32], weights: Weights, products: &mut [f32], rows: usize) {
    let inputs = weights.inputs;
    let outputs = weights.values.chunks_exact(inputs).zip(weights.scales.chunks_exact(inputs / GROUP));
    for (products, (values, scales)) in products.chunks_exact_mut(rows).zip(outputs) {
        let mut sums = [simd.splat_f32s(0.0); ROWS];
        for (number, (values, &scale)) in values.as_chunks::<GROUP>().0.iter().zip(scales).enumerate() {
            let wide = values.map(f32::from);
            let (wide, _) = S::as_simd_f32s(&wide);
            let scale = simd.splat_f32s(scale);
            for (sum, x) in sums.iter_mut().zip(x.chunks_exact(inputs)) {
                let (x, _) = S::as_simd_f32s(&x[number * GROUP..][..GROUP]);
                let mut dot = simd.mul_f32s(x[0], wide[0]);
                for (x, wide) in x.iter().zip(wide).skip(1) {
                    dot = simd.mul_add_f32s(*x, *wide, dot);
                }
                *sum = simd.mul_add_f32s(dot, scale, *sum);
            }
        }
        for (product, sum) in products.iter_mut().zip(sums) {
            *product = simd.reduce_sum_f32s(sum);
        }
    }
}

/// The weights as f32, in their order.
pub(super) fn widened(weights: Weights) -> Vec<f32> {
    let group = weights.group();
    // Groups of one task: enough that threads pay.
    let part = (64 * 1024 / group).max(1);
    let mut out = vec![0.0; weights.values.len()];
    let parts = weights.values.par_chunks(part * group).zip(weights.scales.par_chunks(part));
    out.par_chunks_mut(part * group).zip(parts).for_each(|(out, (values, scales))| {
        for ((out, values), &scale) in out.chunks_mut(group).zip(values.chunks(group)).zip(scales) {
            out.iter_mut().zip(values).for_each(|(out, &value)| *out = f32::from(value) * scale);
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One product after another.
    fn expected(x: &[f32], weights: Weights, rows: usize) -> Vec<f32> {
        let (inputs, wide) = (weights.inputs, widened(weights));
        let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| f64::from(x * w)).sum::<f64>() as f32;
        (0..rows)
            .flat_map(|row| wide.chunks(inputs).map(move |w| (row, w)))
            .map(|(row, w)| dot(&x[row * inputs..][..inputs], w))
            .collect()
    }

    #[test]
    fn products_are_those_of_the_widened_weights() {
        // Groups of 64, 32 and 16; the last is several tasks.
        let all = [(64, 3, 64), (192, 5, 64), (96, 7, 32), (48, 1, 16), (16, 33, 16), (256, 700, 64)];
        let all = if cfg!(miri) { &all[..5] } else { &all[..] };
        for &(inputs, outputs, group) in all {
            let values: Vec<i8> = (0..inputs * outputs).map(|i| ((i * 37 + i / 7) % 255) as u8 as i8).collect();
            let scales: Vec<f32> = (0..inputs * outputs / group).map(|i| 0.01 * ((i % 5) as f32 - 1.0)).collect();
            let weights = Weights { values: &values, scales: &scales, inputs };
            assert_eq!((weights.group(), weights.outputs()), (group, outputs));
            for rows in [1, 2, 8] {
                let x: Vec<f32> = (0..rows * inputs).map(|i| ((i as f32) * 0.37).sin()).collect();
                let (found, expected) = (product(&x, weights, rows), expected(&x, weights, rows));
                let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                for (found, expected) in found.iter().zip(&expected) {
                    assert!(
                        (found - expected).abs() <= 1e-5 * largest,
                        "{rows} x {inputs} x {outputs}: {found} {expected}"
                    );
                }
            }
        }
    }
}
