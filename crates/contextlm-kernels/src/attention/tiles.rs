//! Attention over slices, in tiles: of the [T, S] scores only one tile exists at a time (arXiv 2205.14135).
//!
//! Keys that a query does not attend to have weights of exactly 0 and do not count for its maximum, so what they are does
//! not change a bit of its result. Tiles begin at multiples of their size: the results at the beginning of a longer
//! sequence are those of a shorter one, but where tiles have only a few rows or columns, whose products are added up in
//! another order.

use core::ops::Range;

use rayon::prelude::*;

use super::KeyRanges;
use crate::flex::heads::Heads;
use crate::flex::product::{Matrix, product};
use crate::slices::math::{exp, max, sum};
use crate::slices::vectorised::{Vectorised, vectorised};

/// Queries of a tile.
const QUERIES: usize = 64;

/// Keys of a tile: with the queries 64 KiB of scores, a part of the second cache.
const KEYS: usize = 256;

/// Multiplications from which on several threads share the work.
const PARALLEL: usize = 1 << 18;

/// Sizes of one attention: B rows, T queries of H heads, S keys of G heads, Dh wide.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) rows: usize,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) width: usize,
    /// What scores are multiplied by.
    pub(crate) scale: f32,
}

impl Sizes {
    fn is_large(&self) -> bool {
        self.rows * self.heads * self.queries * self.keys * self.width > PARALLEL
    }
}

/// The first and last key that some of these queries attend to, and tiles of keys in between.
fn tiles(ranges: &[Range<u32>]) -> impl Iterator<Item = Range<usize>> + use<> {
    let first = ranges.iter().map(|range| range.start as usize).min().unwrap_or(0);
    let end = ranges.iter().map(|range| range.end as usize).max().unwrap_or(0);
    (first / KEYS * KEYS..end).step_by(KEYS).map(move |start| start.max(first)..end.min(start + KEYS))
}

/// Where the keys `range` are in the tile `keys`.
#[inline(always)]
fn inside(range: &Range<u32>, keys: &Range<usize>) -> Range<usize> {
    let start = (range.start as usize).clamp(keys.start, keys.end);
    let end = (range.end as usize).clamp(start, keys.end);
    start - keys.start..end - keys.start
}

/// Output [B, T, H*Dh], and the logarithm of every softmax's sum, [B, T, H].
pub(crate) fn forward(sizes: Sizes, q: Heads, k: Heads, v: Heads, ranges: &KeyRanges) -> (Vec<f32>, Vec<f32>) {
    let tiles = sizes.rows * sizes.queries.div_ceil(QUERIES);
    if sizes.is_large() && tiles < rayon::current_num_threads() {
        forward_by_heads(sizes, [q, k, v], ranges)
    } else {
        forward_by_tiles(sizes, [q, k, v], ranges)
    }
}

/// As [`forward`], one task a tile of queries.
fn forward_by_tiles(sizes: Sizes, [q, k, v]: [Heads; 3], ranges: &KeyRanges) -> (Vec<f32>, Vec<f32>) {
    let Sizes { rows, queries, heads, width, .. } = sizes;
    let mut out = vec![0.0; rows * queries * heads * width];
    let mut log_sums = vec![0.0; rows * queries * heads];
    if out.is_empty() {
        return (out, log_sums);
    }
    let of_row = |(row, (out, log_sums)): (usize, (&mut [f32], &mut [f32]))| {
        let of_tile = |(tile, (out, log_sums)): (usize, (&mut [f32], &mut [f32]))| {
            let start = tile * QUERIES;
            let count = log_sums.len() / heads;
            let ranges = &ranges.of_row(row)[start..start + count];
            for head in 0..heads {
                let (out, log_sums) = (&mut out[head * width..], &mut log_sums[head..]);
                forward_head(sizes, [q, k, v], [row, head, start], ranges, (out, heads * width), (log_sums, heads));
            }
        };
        let (out_tile, sums_tile) = (QUERIES * heads * width, QUERIES * heads);
        if sizes.is_large() {
            out.par_chunks_mut(out_tile).zip(log_sums.par_chunks_mut(sums_tile)).enumerate().for_each(of_tile);
        } else {
            out.chunks_mut(out_tile).zip(log_sums.chunks_mut(sums_tile)).enumerate().for_each(of_tile);
        }
    };
    let (out_row, sums_row) = (queries * heads * width, queries * heads);
    if sizes.is_large() {
        out.par_chunks_mut(out_row).zip(log_sums.par_chunks_mut(sums_row)).enumerate().for_each(of_row);
    } else {
        out.chunks_mut(out_row).zip(log_sums.chunks_mut(sums_row)).enumerate().for_each(of_row);
    }
    (out, log_sums)
}

/// As [`forward`], one task a head of a tile: for fewer tiles than threads, as in decoding token by token. The sums are
/// the same; the heads lie one after another and are then brought to their places.
fn forward_by_heads(sizes: Sizes, [q, k, v]: [Heads; 3], ranges: &KeyRanges) -> (Vec<f32>, Vec<f32>) {
    let Sizes { rows, queries, heads, width, .. } = sizes;
    let mut by_head = vec![0.0; rows * heads * queries * width]; // [B, H, T, Dh]
    let mut sums_by_head = vec![0.0; rows * heads * queries]; // [B, H, T]
    let outs = by_head.par_chunks_mut(queries * width).zip(sums_by_head.par_chunks_mut(queries));
    outs.enumerate().for_each(|(index, (out, log_sums))| {
        let (row, head) = (index / heads, index % heads);
        let tiles = out.par_chunks_mut(QUERIES * width).zip(log_sums.par_chunks_mut(QUERIES));
        tiles.enumerate().for_each(|(tile, (out, log_sums))| {
            let start = tile * QUERIES;
            let ranges = &ranges.of_row(row)[start..start + log_sums.len()];
            forward_head(sizes, [q, k, v], [row, head, start], ranges, (out, width), (log_sums, 1));
        });
    });
    let mut out = vec![0.0; by_head.len()];
    let mut log_sums = vec![0.0; sums_by_head.len()];
    for (index, (from, sum)) in by_head.chunks_exact(width).zip(sums_by_head).enumerate() {
        let (row, head, query) = (index / (heads * queries), index / queries % heads, index % queries);
        let to = (row * queries + query) * heads + head;
        out[to * width..][..width].copy_from_slice(from);
        log_sums[to] = sum;
    }
    (out, log_sums)
}

/// The queries of one head from `start` on that `ranges` has: `Dh` elements each and one logarithm, which begin a stride
/// after those of the query before.
fn forward_head(
    sizes: Sizes,
    [q, k, v]: [Heads; 3],
    [row, head, start]: [usize; 3],
    ranges: &[Range<u32>],
    (out, stride): (&mut [f32], usize),
    (log_sums, sums_stride): (&mut [f32], usize),
) {
    let Sizes { heads, kv_heads, width, scale, .. } = sizes;
    let count = ranges.len();
    let mut scores = vec![0.0; count * KEYS.min(sizes.keys)];
    let kv_head = head / (heads / kv_heads);
    let q = q.matrix(row, head, start..start + count, width);
    let mut state = [(f32::NEG_INFINITY, 0.0); QUERIES];
    for (index, keys) in tiles(ranges).enumerate() {
        let scores = &mut scores[..count * keys.len()];
        let k = k.matrix(row, kv_head, keys.clone(), width);
        product(scores, keys.len(), q, k.transposed(), scale, false);
        vectorised(Softmax { scores, ranges, keys: &keys, state: &mut state, out, stride, width });
        let weights = Matrix::new(scores, count, keys.len(), keys.len());
        product(out, stride, weights, v.matrix(row, kv_head, keys, width), 1.0, index > 0);
    }
    for (query, (most, sum)) in state.into_iter().enumerate().take(count) {
        out[query * stride..][..width].iter_mut().for_each(|value| *value /= sum);
        log_sums[query * sums_stride] = most + sum.ln();
    }
}

/// Scores of a tile become exp(score - largest so far), 0 outside of the range; what has been added up so far is
/// brought to the new largest score.
struct Softmax<'a> {
    scores: &'a mut [f32],
    ranges: &'a [Range<u32>],
    keys: &'a Range<usize>,
    /// Largest score, and sum of the exponentials, of every query.
    state: &'a mut [(f32, f32)],
    out: &'a mut [f32],
    stride: usize,
    width: usize,
}

impl Vectorised for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { scores, ranges, keys, state, out, stride, width } = self;
        for (query, (scores, range)) in scores.chunks_exact_mut(keys.len()).zip(ranges).enumerate() {
            let live = inside(range, keys);
            let (before, after) = (live.start, live.end);
            let (most, total) = &mut state[query];
            let now = max(&scores[live.clone()]);
            let now = if *most > now { *most } else { now };
            let kept = if *most == f32::NEG_INFINITY { 0.0 } else { exp(*most - now) };
            scores[..before].fill(0.0);
            scores[after..].fill(0.0);
            let live = &mut scores[live];
            for score in live.iter_mut() {
                *score = exp(*score - now);
            }
            *total = *total * kept
                + sum(
                    live.len(),
                    #[inline(always)]
                    |i| live[i],
                );
            *most = now;
            if kept != 1.0 {
                for value in &mut out[query * stride..][..width] {
                    *value *= kept;
                }
            }
        }
    }
}

/// What the backward gets from the forward, and the gradient that reaches the output; [B, T, H*Dh], but [B, T, H].
#[derive(Clone, Copy)]
pub(crate) struct Saved<'a> {
    pub(crate) out: &'a [f32],
    pub(crate) log_sums: &'a [f32],
    pub(crate) upstream: &'a [f32],
}

/// A group's own part of the three gradients, as zipped iterators give it.
type Parts<'a> = ((&'a mut [f32], &'a mut [f32]), &'a mut [f32]);

/// Gradients of q [B, H, T, Dh], k and v [B, G, S, Dh].
pub(crate) fn backward(sizes: Sizes, q: Heads, k: Heads, v: Heads, ranges: &KeyRanges, saved: Saved) -> [Vec<f32>; 3] {
    let Sizes { rows, queries, keys, heads, kv_heads, width, .. } = sizes;
    let mut for_q = vec![0.0; rows * heads * queries * width];
    let mut for_k = vec![0.0; rows * kv_heads * keys * width];
    let mut for_v = for_k.clone();
    if for_q.is_empty() {
        return [for_q, for_k, for_v];
    }
    let of_group = |(index, ((for_q, for_k), for_v)): (usize, Parts)| {
        let (row, group) = (index / kv_heads, index % kv_heads);
        for (number, for_q) in for_q.chunks_exact_mut(queries * width).enumerate() {
            let head = group * (heads / kv_heads) + number;
            backward_head(sizes, [q, k, v], [row, head, group], ranges.of_row(row), saved, [for_q, for_k, for_v]);
        }
    };
    let (q_part, k_part) = (heads / kv_heads * queries * width, keys * width);
    if sizes.is_large() {
        let q = for_q.par_chunks_mut(q_part);
        q.zip(for_k.par_chunks_mut(k_part)).zip(for_v.par_chunks_mut(k_part)).enumerate().for_each(of_group);
    } else {
        let q = for_q.chunks_mut(q_part);
        q.zip(for_k.chunks_mut(k_part)).zip(for_v.chunks_mut(k_part)).enumerate().for_each(of_group);
    }
    [for_q, for_k, for_v]
}

/// One query head: its gradient [T, Dh], and what it adds to those of its keys and values [S, Dh].
///
/// With weights P, d = upstream and D = sum(d * out) of every query: for v P^T d, for the scores S' = P (d v^T - D), for
/// q scale S' k, for k scale S'^T q. P is computed again from the scores and the logarithm of their sum.
fn backward_head(
    sizes: Sizes,
    [q, k, v]: [Heads; 3],
    [row, head, group]: [usize; 3],
    ranges: &[Range<u32>],
    saved: Saved,
    [for_q, for_k, for_v]: [&mut [f32]; 3],
) {
    let Sizes { queries, heads, width, scale, .. } = sizes;
    let stride = heads * width;
    let upstream = Heads { values: saved.upstream, strides: [queries * stride, stride, width] };
    let tile = QUERIES.min(queries) * KEYS.min(sizes.keys);
    let (mut weights, mut slopes) = (vec![0.0; tile], vec![0.0; tile]);
    for start in (0..queries).step_by(QUERIES) {
        let count = QUERIES.min(queries - start);
        let ranges = &ranges[start..start + count];
        let first = (row * queries + start) * stride + head * width;
        let mut of_queries = [(0.0, 0.0); QUERIES];
        for (query, (dot, log_sum)) in of_queries.iter_mut().enumerate().take(count) {
            let at = first + query * stride;
            let (out, upstream) = (&saved.out[at..at + width], &saved.upstream[at..at + width]);
            *dot = sum(width, |i| out[i] * upstream[i]);
            *log_sum = saved.log_sums[(row * queries + start + query) * heads + head];
        }
        let q = q.matrix(row, head, start..start + count, width);
        let upstream = upstream.matrix(row, head, start..start + count, width);
        let for_q = &mut for_q[start * width..];
        for (index, keys) in tiles(ranges).enumerate() {
            let size = keys.len();
            let (weights, slopes) = (&mut weights[..count * size], &mut slopes[..count * size]);
            let (k, v) = (k.matrix(row, group, keys.clone(), width), v.matrix(row, group, keys.clone(), width));
            product(weights, size, q, k.transposed(), scale, false);
            product(slopes, size, upstream, v.transposed(), 1.0, false);
            vectorised(Slopes { weights, slopes, ranges, keys: &keys, of_queries: &of_queries });
            let (weights, slopes) = (Matrix::new(weights, count, size, size), Matrix::new(slopes, count, size, size));
            let at = keys.start * width;
            product(&mut for_v[at..], width, weights.transposed(), upstream, 1.0, true);
            product(&mut for_k[at..], width, slopes.transposed(), q, scale, true);
            product(for_q, width, slopes, k, scale, index > 0);
        }
    }
}

/// Scores of a tile become the softmax's weights, and upstream v^T becomes the gradient of the scores.
struct Slopes<'a> {
    weights: &'a mut [f32],
    slopes: &'a mut [f32],
    ranges: &'a [Range<u32>],
    keys: &'a Range<usize>,
    /// D and the logarithm of the sum.
    of_queries: &'a [(f32, f32)],
}

impl Vectorised for Slopes<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { weights, slopes, ranges, keys, of_queries } = self;
        let rows = weights.chunks_exact_mut(keys.len()).zip(slopes.chunks_exact_mut(keys.len()));
        for (((weights, slopes), range), (dot, log_sum)) in rows.zip(ranges).zip(of_queries) {
            let live = inside(range, keys);
            for outside in [0..live.start, live.end..keys.len()] {
                weights[outside.clone()].fill(0.0);
                slopes[outside].fill(0.0);
            }
            for (weight, slope) in weights[live.clone()].iter_mut().zip(&mut slopes[live]) {
                *weight = exp(*weight - log_sum);
                *slope = *weight * (*slope - dot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_heads_is_by_tiles_bit_by_bit() {
        for (rows, queries, before) in [(1, 1, 600), (2, 1, 3), (1, 64, 0), (1, 7, 300), (2, 130, 200)] {
            let (heads, kv_heads, width, keys) = (4, 2, 24, before + queries);
            let sizes = Sizes { rows, queries, keys, heads, kv_heads, width, scale: 0.3 };
            let noise = |count: usize, seed: usize| -> Vec<f32> {
                (0..count).map(|i| (((i + 31 * seed) as f32) * 12.9898).sin()).collect()
            };
            let q = noise(rows * queries * heads * width, 1);
            let [k, v] = [2, 3].map(|seed| noise(rows * keys * kv_heads * width, seed));
            let of = |values, length: usize, heads: usize| Heads {
                values,
                strides: [length * heads * width, heads * width, width],
            };
            let qkv = [of(&q, queries, heads), of(&k, keys, kv_heads), of(&v, keys, kv_heads)];
            let ranges = KeyRanges::causal(before, queries);
            let (by_heads, by_tiles) = (forward_by_heads(sizes, qkv, &ranges), forward_by_tiles(sizes, qkv, &ranges));
            assert!(by_heads == by_tiles, "{rows}, {queries}, {before}");
            assert!(by_tiles.0.iter().any(|value| *value != 0.0));
        }
    }
}
