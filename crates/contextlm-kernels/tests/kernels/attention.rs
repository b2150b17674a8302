//! Attention in tiles against softmax and matrix products that burn differentiates.

use core::ops::Range;

use burn::tensor::{Device, Tensor};
use contextlm_kernels::{KeyRanges, attention, attention_with};

use crate::{assert_near, devices, noise, values};

/// B, T, S, H, G, Dh.
#[derive(Clone, Copy, Debug)]
struct Shape(usize, usize, usize, usize, usize, usize);

/// Heads as they are in a projection's output: [B, length, heads, width] beside other things.
fn heads(rows: usize, length: usize, heads: usize, width: usize, seed: u64, device: &Device) -> Tensor<4> {
    if rows * length == 0 {
        return Tensor::zeros([rows, length, heads, width], device);
    }
    let all = noise(rows * length, (heads + 1) * width, seed, device).reshape([rows, length, heads + 1, width]);
    all.narrow(2, 1, heads)
}

fn inputs(shape: Shape, size: f64, device: &Device) -> [Tensor<4>; 3] {
    let Shape(rows, queries, keys, q_heads, kv_heads, width) = shape;
    [
        (heads(rows, queries, q_heads, width, 1, device) * size).require_grad(),
        heads(rows, keys, kv_heads, width, 2, device).require_grad(),
        heads(rows, keys, kv_heads, width, 3, device).require_grad(),
    ]
}

/// Output, and gradients of q, k and v.
fn run(fused: bool, shape: Shape, ranges: &KeyRanges, size: f64, device: &Device) -> [Vec<f64>; 4] {
    let Shape(rows, queries, _, heads, _, width) = shape;
    let [q, k, v] = inputs(shape, size, device);
    let scale = 1.0 / (width as f64).sqrt();
    let out = match fused {
        true => attention(q.clone(), k.clone(), v.clone(), ranges, scale),
        false => attention_with(q.clone(), k.clone(), v.clone(), ranges, scale, |weights| weights),
    };
    assert_eq!(out.dims(), [rows, queries, heads * width]);
    let upstream = || noise(1, rows * queries * heads * width, 4, device).reshape(out.dims());
    let gradients = match rows * queries {
        0 => out.clone().sum().backward(),
        _ => (out.clone() * upstream()).sum().backward(),
    };
    let of = |tensor: Tensor<4>| values(tensor.grad(&gradients).unwrap());
    [values(out), of(q), of(k), of(v)]
}

fn compare(shape: Shape, ranges: &KeyRanges, size: f64) {
    for device in devices() {
        let (found, expected) = (run(true, shape, ranges, size, &device), run(false, shape, ranges, size, &device));
        for (what, (found, expected)) in ["value", "q", "k", "v"].iter().zip(found.iter().zip(&expected)) {
            let single = expected.iter().all(|value| value.abs() < 1e-6); // of one key: softmax has no gradient
            let tolerance = if *what == "value" { 1e-5 } else { 1e-4 };
            match single {
                true => assert!(found.iter().all(|value| value.abs() < 1e-5), "{shape:?}: {what}"),
                false => assert_near(&format!("{shape:?}: {what}"), found, expected, tolerance),
            }
        }
    }
}

#[test]
fn causal_values_and_gradients_are_the_composed_ones() {
    for (rows, length, heads, kv_heads, width) in
        [(1, 1, 1, 1, 1), (2, 3, 2, 2, 5), (1, 64, 2, 1, 8), (3, 65, 4, 2, 16), (1, 257, 3, 1, 7), (2, 600, 2, 2, 64)]
    {
        compare(Shape(rows, length, length, heads, kv_heads, width), &KeyRanges::causal(0, length), 1.0);
    }
}

#[test]
fn queries_may_be_the_last_of_the_keys() {
    for (past, queries) in [(5, 1), (300, 1), (70, 70), (511, 3)] {
        compare(Shape(2, queries, past + queries, 4, 2, 16), &KeyRanges::causal(past, queries), 1.0);
    }
}

#[test]
fn large_scores_stay_finite() {
    compare(Shape(1, 300, 300, 2, 2, 8), &KeyRanges::causal(0, 300), 30.0);
}

#[test]
fn ranges_may_be_any() {
    let documents = |starts: &[usize], length: usize| -> Vec<Range<usize>> {
        (0..length).map(|t| *starts.iter().rev().find(|start| **start <= t).unwrap()..t + 1).collect()
    };
    let packed = KeyRanges::new(vec![documents(&[0, 3, 70, 280], 330), documents(&[0, 299], 330)], 330);
    compare(Shape(2, 330, 330, 2, 1, 8), &packed, 1.0);
    // Rows of different pasts, and windows that begin later than their tile.
    let windows = vec![vec![0..3, 0..4, 2..5], vec![0..600, 300..601, 590..602]];
    compare(Shape(2, 3, 602, 2, 2, 8), &KeyRanges::new(windows, 602), 1.0);
}

#[test]
fn longer_sequences_begin_as_shorter_ones() {
    let device = Device::flex().autodiff();
    let Shape(rows, length, _, heads, _, width) = Shape(1, 300, 300, 2, 2, 16);
    let [q, k, v] = inputs(Shape(rows, length, length, heads, heads, width), 1.0, &device);
    let first = |count: usize| {
        let of = |x: &Tensor<4>| x.clone().narrow(1, 0, count);
        values(attention(of(&q), of(&k), of(&v), &KeyRanges::causal(0, count), 0.25))
    };
    let all = first(length);
    for count in [64, 100, 255, 256, 299] {
        let some = first(count);
        assert_eq!(some, all[..some.len()], "{count} entries");
    }
    // Products with one or two rows or columns add up in another order.
    for count in [1, 2, 3, 16, 65, 257] {
        let some = first(count);
        assert_near(&format!("{count} entries"), &some, &all[..some.len()], 1e-6);
    }
}

#[test]
fn a_later_entry_changes_no_earlier_result() {
    let device = Device::flex().autodiff();
    for length in [1, 2, 5, 65, 257] {
        let shape = Shape(1, length, length, 2, 1, 8);
        let [q, k, v] = inputs(shape, 1.0, &device);
        let run = |k: Tensor<4>, v: Tensor<4>| values(attention(q.clone(), k, v, &KeyRanges::causal(0, length), 0.3));
        let before = run(k.clone(), v.clone());
        for changed in [length / 2, length - 1] {
            let other = |x: &Tensor<4>| {
                let end = x.clone().narrow(1, changed, length - changed) * -3.0;
                x.clone().slice_assign([0..1, changed..length, 0..1, 0..8], end)
            };
            let (after, same) = (run(other(&k), other(&v)), changed * 2 * 8);
            assert_eq!(before[..same], after[..same], "{length} entries, from {changed} on others");
            assert_ne!(before[same..], after[same..], "{length} entries, from {changed} on others");
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let on_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let shape = Shape(2, 200, 200, 4, 2, 16);
        pool.install(|| run(true, shape, &KeyRanges::causal(0, 200), 1.0, &Device::flex().autodiff()))
    };
    let one = on_threads(1);
    assert_eq!(one, on_threads(3));
    assert_eq!(one, on_threads(8));
}

#[test]
fn no_rows_and_no_queries() {
    for shape in [Shape(0, 4, 4, 2, 1, 8), Shape(2, 0, 3, 2, 1, 8)] {
        let Shape(_, queries, keys, ..) = shape;
        let found = run(true, shape, &KeyRanges::causal(keys - queries, queries), 1.0, &Device::flex().autodiff());
        assert!(found[0].is_empty());
        assert!(found.iter().flatten().all(|value| *value == 0.0));
    }
}

#[test]
fn checkpointing_gives_the_same() {
    let device = Device::flex().autodiff();
    let (shape, ranges) = (Shape(1, 70, 70, 2, 1, 8), KeyRanges::causal(0, 70));
    let found = run(true, shape, &ranges, 1.0, &device.clone().gradient_checkpointing());
    assert_eq!(found, run(true, shape, &ranges, 1.0, &device));
}

#[test]
#[should_panic(expected = "the ranges are of other queries and keys")]
fn ranges_must_fit() {
    let [q, k, v] = inputs(Shape(1, 3, 3, 1, 1, 4), 1.0, &Device::flex().autodiff());
    attention(q, k, v, &KeyRanges::causal(0, 4), 1.0);
}
