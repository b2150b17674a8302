//! Attention on flex: the tiles of [`tiles`](super::tiles), and its tensors' strides.

use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Shape;

use super::KeyRanges;
use super::ops::AttentionOps;
use super::tiles::{Saved, Sizes, backward, forward};
use crate::flex::heads::{heads, with_whole_heads};
use crate::flex::tensor::{FlexTensor, contiguous, tensor, values};
use crate::slices::parallel::blocks;

impl AttentionOps for Flex {
    fn fused_attention(q: FlexTensor, k: FlexTensor, v: FlexTensor, ranges: KeyRanges, scale: f64) -> FlexTensor {
        Self::fused_attention_with_sums(q, k, v, ranges, scale).0
    }

    fn fused_attention_with_sums(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        ranges: KeyRanges,
        scale: f64,
    ) -> (FlexTensor, FlexTensor) {
        let sizes = sizes(&q, &k, scale);
        let (q, k, v) = (with_whole_heads(q), with_whole_heads(k), with_whole_heads(v));
        let (out, sums) = forward(sizes, heads(&q), heads(&k), heads(&v), &ranges);
        let Sizes { rows, queries, heads, width, .. } = sizes;
        (tensor(out, Shape::new([rows, queries, heads * width])), tensor(sums, Shape::new([rows, queries, heads])))
    }

    fn fused_attention_backward(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        out: FlexTensor,
        sums: FlexTensor,
        upstream: FlexTensor,
        ranges: KeyRanges,
        scale: f64,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let sizes = sizes(&q, &k, scale);
        let (q, k, v) = (with_whole_heads(q), with_whole_heads(k), with_whole_heads(v));
        let (out, sums, upstream) = (contiguous(out), contiguous(sums), contiguous(upstream));
        let saved = Saved { out: values(&out), log_sums: values(&sums), upstream: values(&upstream) };
        let [for_q, for_k, for_v] = backward(sizes, heads(&q), heads(&k), heads(&v), &ranges, saved);
        let Sizes { rows, queries, keys, heads, kv_heads, width, .. } = sizes;
        let by_entry = |values: Vec<f32>, entries: usize, heads: usize| {
            tensor(by_entry(&values, entries, heads, width), Shape::new([rows, entries, heads, width]))
        };
        (by_entry(for_q, queries, heads), by_entry(for_k, keys, kv_heads), by_entry(for_v, keys, kv_heads))
    }
}

fn sizes(q: &FlexTensor, k: &FlexTensor, scale: f64) -> Sizes {
    let [rows, queries, heads, width] = q.shape().dims();
    let [_, keys, kv_heads, _] = k.shape().dims();
    Sizes { rows, queries, keys, heads, kv_heads, width, scale: scale as f32 }
}

/// [B, H, T, Dh] to [B, T, H, Dh].
fn by_entry(values: &[f32], entries: usize, heads: usize, width: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    let row = heads * width;
    let block = row * (16 * 1024 / row.max(1)).max(1);
    blocks(&mut out, block.max(1), |number, out| {
        for (index, out) in out.chunks_exact_mut(row).enumerate() {
            let place = number * (block / row) + index;
            let (batch, entry) = (place / entries, place % entries);
            for (head, out) in out.chunks_exact_mut(width).enumerate() {
                let start = ((batch * heads + head) * entries + entry) * width;
                out.copy_from_slice(&values[start..start + width]);
            }
        }
    });
    out
}
