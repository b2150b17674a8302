//! Attention from a projection on flex.

use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Shape;

use super::QkvOrder;
use super::ops::ProjectionOps;
use crate::KeyRanges;
use crate::attention::tiles::{Saved, Sizes, backward, forward};
use crate::flex::heads::Heads;
use crate::flex::tensor::{FlexTensor, contiguous, tensor, values};
use crate::rotary::flex::{Angles, rotate};
use crate::slices::parallel::{blocks, rows_of_block};

impl ProjectionOps for Flex {
    fn fused_projection_with_sums(
        qkv: FlexTensor,
        cos: FlexTensor,
        sin: FlexTensor,
        heads: usize,
        order: QkvOrder,
        ranges: KeyRanges,
        scale: f64,
    ) -> (FlexTensor, FlexTensor) {
        let (sizes, qkv) = (sizes(&qkv, heads, scale), contiguous(qkv));
        let [q, k, v] = parts(values(&qkv), sizes, order);
        let angles = Angles::new(cos, sin);
        let turned = angles.as_ref().map(|angles| [q, k].map(|x| rotate(x, shape(sizes), angles, false)));
        let (q, k) = turned.as_ref().map_or((q, k), |[q, k]| (by_entry(q, sizes), by_entry(k, sizes)));
        let (out, sums) = forward(sizes, q, k, v, &ranges);
        let Sizes { rows, queries, width, .. } = sizes;
        (tensor(out, Shape::new([rows, queries, heads * width])), tensor(sums, Shape::new([rows, queries, heads])))
    }

    fn fused_projection_backward(
        qkv: FlexTensor,
        cos: FlexTensor,
        sin: FlexTensor,
        out: FlexTensor,
        sums: FlexTensor,
        upstream: FlexTensor,
        order: QkvOrder,
        ranges: KeyRanges,
        scale: f64,
    ) -> FlexTensor {
        let [_, _, heads] = sums.shape().dims();
        let (sizes, qkv) = (sizes(&qkv, heads, scale), contiguous(qkv));
        let [q, k, v] = parts(values(&qkv), sizes, order);
        let angles = Angles::new(cos, sin);
        // Turned again, which is cheaper than to keep them.
        let turned = angles.as_ref().map(|angles| [q, k].map(|x| rotate(x, shape(sizes), angles, false)));
        let (q, k) = turned.as_ref().map_or((q, k), |[q, k]| (by_entry(q, sizes), by_entry(k, sizes)));
        let (out, sums, upstream) = (contiguous(out), contiguous(sums), contiguous(upstream));
        let saved = Saved { out: values(&out), log_sums: values(&sums), upstream: values(&upstream) };
        let gradients = backward(sizes, q, k, v, &ranges, saved);
        let [for_q, for_k, for_v] = gradients.each_ref().map(|gradient| by_head(gradient, sizes));
        let back = angles.as_ref().map(|angles| [for_q, for_k].map(|x| rotate(x, shape(sizes), angles, true)));
        let (for_q, for_k) = back.as_ref().map_or((for_q, for_k), |[q, k]| (by_entry(q, sizes), by_entry(k, sizes)));
        tensor(joined([for_q, for_k, for_v], sizes, order), qkv.shape())
    }
}

fn sizes(qkv: &FlexTensor, heads: usize, scale: f64) -> Sizes {
    let [rows, length, all] = qkv.shape().dims();
    let width = all / 3 / heads;
    Sizes { rows, queries: length, keys: length, heads, kv_heads: heads, width, scale: scale as f32 }
}

fn shape(sizes: Sizes) -> [usize; 4] {
    [sizes.rows, sizes.queries, sizes.heads, sizes.width]
}

/// Queries, keys and values where they are in the projection.
fn parts(qkv: &[f32], sizes: Sizes, order: QkvOrder) -> [Heads<'_>; 3] {
    let Sizes { queries, heads, width, .. } = sizes;
    let ([part, head], entry) = (order.steps(heads, width), 3 * heads * width);
    [0, 1, 2]
        .map(|i| Heads { values: qkv.get(i * part..).unwrap_or_default(), strides: [queries * entry, entry, head] })
}

/// [B, T, H, Dh].
fn by_entry(values: &[f32], sizes: Sizes) -> Heads<'_> {
    let Sizes { queries, heads, width, .. } = sizes;
    Heads { values, strides: [queries * heads * width, heads * width, width] }
}

/// [B, H, T, Dh].
fn by_head(values: &[f32], sizes: Sizes) -> Heads<'_> {
    let Sizes { queries, heads, width, .. } = sizes;
    Heads { values, strides: [queries * heads * width, width, queries * width] }
}

/// The three parts in one tensor [B, T, 3*H*Dh], in the order of the projection.
fn joined(parts: [Heads; 3], sizes: Sizes, order: QkvOrder) -> Vec<f32> {
    let Sizes { rows, queries, heads, width, .. } = sizes;
    let (entry, [part_step, head_step]) = (3 * heads * width, order.steps(heads, width));
    let mut out = vec![0.0; rows * queries * entry];
    if out.is_empty() {
        return out;
    }
    let entries = rows_of_block(entry);
    blocks(&mut out, entries * entry, |number, out| {
        for (index, out) in out.chunks_exact_mut(entry).enumerate() {
            let place = number * entries + index;
            for (i, part) in parts.iter().enumerate() {
                for head in 0..heads {
                    let from = part.vector(place / queries, head, place % queries, width);
                    out[i * part_step + head * head_step..][..width].copy_from_slice(from);
                }
            }
        }
    });
    out
}
