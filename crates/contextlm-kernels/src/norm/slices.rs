//! The norms on slices: one pass over the rows forward, and one backward, in which a row stays in the first cache.

use crate::slices::math::sum;
use crate::slices::parallel::{blocks, rows_of_block};

/// Mean (0 in RMS norm) and 1 / sqrt(variance + eps) of a row.
#[inline(always)]
fn moments<const CENTRED: bool>(row: &[f32], eps: f32) -> (f32, f32) {
    let count = row.len() as f32;
    let mean = if CENTRED {
        sum(
            row.len(),
            #[inline(always)]
            |i| row[i],
        ) / count
    } else {
        0.0
    };
    let squares = sum(
        row.len(),
        #[inline(always)]
        |i| (row[i] - mean) * (row[i] - mean),
    );
    (mean, 1.0 / (squares / count + eps).sqrt())
}

/// The normed rows, in `out`. `CENTRED`: layer norm; else RMS norm, which has no bias.
pub(super) fn forward<const CENTRED: bool>(out: &mut [f32], x: &[f32], weight: &[f32], bias: &[f32], eps: f32) {
    let width = weight.len();
    let block = rows_of_block(width) * width;
    blocks(
        out,
        block,
        #[inline(always)]
        |number, out| {
            for (row, out) in x[number * block..].chunks_exact(width).zip(out.chunks_exact_mut(width)) {
                let (mean, scale) = moments::<CENTRED>(row, eps);
                if CENTRED {
                    for (((out, x), weight), bias) in out.iter_mut().zip(row).zip(weight).zip(bias) {
                        *out = (x - mean) * scale * weight + bias;
                    }
                } else {
                    for ((out, x), weight) in out.iter_mut().zip(row).zip(weight) {
                        *out = x * scale * weight;
                    }
                }
            }
        },
    );
}

/// Gradients of x, in `for_x`, and of weight and bias, as [`composed::gradients`](super::composed::gradients) says. The mean
/// and the deviation are computed again, which is cheaper than to keep and fetch them. Those of weight and bias are summed in
/// each block, then over the blocks in order.
pub(super) fn gradients<const CENTRED: bool>(
    for_x: &mut [f32],
    x: &[f32],
    weight: &[f32],
    upstream: &[f32],
    eps: f32,
) -> [Vec<f32>; 2] {
    let width = weight.len();
    let block = rows_of_block(width) * width;
    let sums = blocks(
        for_x,
        block,
        #[inline(always)]
        |number, for_x| {
            let mut sums = vec![0.0; 2 * width]; // of weight and of bias
            let (for_weight, for_bias) = sums.split_at_mut(width);
            let rows = x[number * block..].chunks_exact(width).zip(upstream[number * block..].chunks_exact(width));
            for ((x, upstream), for_x) in rows.zip(for_x.chunks_exact_mut(width)) {
                row_gradients::<CENTRED>(x, weight, upstream, eps, for_x, for_weight, for_bias);
            }
            sums
        },
    );
    let mut total = vec![0.0; 2 * width];
    for sums in sums {
        total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    let for_bias = total.split_off(width);
    [total, for_bias]
}

#[inline(always)]
fn row_gradients<const CENTRED: bool>(
    x: &[f32],
    weight: &[f32],
    upstream: &[f32],
    eps: f32,
    for_x: &mut [f32],
    for_weight: &mut [f32],
    for_bias: &mut [f32],
) {
    let (width, count) = (weight.len(), weight.len() as f32);
    let (x, upstream, for_x) = (&x[..width], &upstream[..width], &mut for_x[..width]);
    let (for_weight, for_bias) = (&mut for_weight[..width], &mut for_bias[..width]);
    let (mean, scale) = moments::<CENTRED>(x, eps);
    let along = sum(
        width,
        #[inline(always)]
        |i| upstream[i] * weight[i] * (x[i] - mean),
    ) * scale
        / count;
    let level = if CENTRED {
        sum(
            width,
            #[inline(always)]
            |i| upstream[i] * weight[i],
        ) / count
    } else {
        0.0
    };
    for i in 0..width {
        let n = (x[i] - mean) * scale;
        for_x[i] = (upstream[i] * weight[i] - level - n * along) * scale;
        for_weight[i] += upstream[i] * n;
        if CENTRED {
            for_bias[i] += upstream[i];
        }
    }
}
