//! The loss never holds the logits as a whole. Its own process, since the peak is that of the process.
#![allow(clippy::unwrap_used)]

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor};
use contextlm_kernels::{CrossEntropyOptions, linear_cross_entropy};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const VOCABULARY: usize = 8192;
const WIDTH: usize = 64;
const SLICE_ROWS: usize = 128;
const F32: usize = size_of::<f32>();

/// Bytes by which the heap grows at most during forward and backward over `rows` rows.
fn peak(rows: usize, loss: impl Fn(Tensor<2>, Tensor<2>, Tensor<1, Int>) -> Tensor<1>) -> usize {
    let device = Device::flex().autodiff();
    let hidden = Tensor::<2>::full([rows, WIDTH], 0.01, &device).require_grad();
    let weight = Tensor::<2>::full([VOCABULARY, WIDTH], 0.01, &device).require_grad();
    let targets = Tensor::<1, Int>::arange(0..rows as i64, &device);

    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let loss = loss(hidden.clone(), weight.clone(), targets);
    let gradients = loss.backward();
    assert_eq!(hidden.grad(&gradients).unwrap().dims(), [rows, WIDTH]);
    assert_eq!(weight.grad(&gradients).unwrap().dims(), [VOCABULARY, WIDTH]);
    HEAP.peak_usage() - before
}

fn ours(hidden: Tensor<2>, weight: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let slice_rows = Some(SLICE_ROWS);
    linear_cross_entropy(hidden, weight, targets, CrossEntropyOptions { slice_rows, ..Default::default() })
}

fn by_itself(hidden: Tensor<2>, weight: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    linear_cross_entropy(hidden, weight, targets, CrossEntropyOptions::default())
}

fn plain(hidden: Tensor<2>, weight: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    log_softmax(hidden.matmul(weight.transpose()), 1).gather(1, targets.unsqueeze_dim(1)).sum().neg()
}

#[test]
fn the_peak_does_not_grow_with_rows_times_vocabulary() {
    const FEW: usize = 512;
    const MANY: usize = 4096;
    let logits = |rows: usize| rows * VOCABULARY * F32;

    peak(FEW, ours); // thread pools and packing buffers of the matrix product stay
    let (few, many) = (peak(FEW, ours), peak(MANY, ours));
    let (default, control) = (peak(MANY, by_itself), peak(MANY, plain));
    println!("MiB: {FEW} rows {}, {MANY} rows {}", few >> 20, many >> 20);
    println!("MiB: {MANY} rows with the default slices {}, by autodiff {}", default >> 20, control >> 20);

    // A few tensors [N, D] (the gradient in parts and joined, and its copies) and per-row columns.
    let growth = many.saturating_sub(few);
    assert!(growth <= (MANY - FEW) * (4 * WIDTH + 64) * F32, "{few} -> {many} bytes");
    for (what, peak) in [("ours", many), ("default slices", default)] {
        assert!(peak < logits(MANY) / 4, "{what}: {peak} bytes");
    }
    // The same limit catches what keeps the logits.
    assert!(control > logits(MANY), "plain autodiff: {control} bytes");
}
