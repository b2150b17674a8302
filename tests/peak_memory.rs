//! A model's loss never holds the logits of its batch. Its own process, since the peak is that of the process.
#![allow(clippy::unwrap_used)]

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};
use contextlm_core::{BackboneConfig, ContextLm, ContextLmConfig, Gpt2Config};
use contextlm_tests::{cpu, ids, tokens};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const VOCABULARY: usize = 8192;
const LENGTH: usize = 64;

fn model() -> ContextLm {
    let backbone = Gpt2Config {
        vocab_size: VOCABULARY,
        n_positions: LENGTH,
        n_embd: 16,
        n_layer: 1,
        n_head: 1,
        resid_pdrop: 0.0,
        embd_pdrop: 0.0,
        attn_pdrop: 0.0,
        ..Gpt2Config::default()
    };
    let config = ContextLmConfig::new(BackboneConfig::Gpt2(backbone)).with_default_context();
    config.init(&cpu().autodiff()).unwrap()
}

/// Bytes by which the heap grows at most during forward and backward over `rows` rows.
fn peak(
    model: &ContextLm,
    rows: usize,
    loss: impl Fn(&ContextLm, Tensor<2, Int>, Tensor<2, Int>) -> Tensor<1>,
) -> usize {
    let device = cpu().autodiff();
    let input = ids(&tokens(rows, LENGTH, VOCABULARY, 1), rows, &device);
    let target = ids(&tokens(rows, LENGTH, VOCABULARY, 2), rows, &device);
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    drop(loss(model, input, target).backward());
    HEAP.peak_usage() - before
}

#[test]
fn the_peak_of_the_loss_does_not_grow_with_positions_times_vocabulary() {
    let logits = |rows: usize| rows * LENGTH * VOCABULARY * size_of::<f32>();
    let model = model();
    let ours = |rows| peak(&model, rows, ContextLm::loss);
    ours(8); // parameters are drawn, and the buffers of the matrix product stay
    let (few, many) = (ours(8), ours(32));
    let control = peak(&model, 32, |model, input, target| {
        let log_probabilities = log_softmax(model.forward(input), 2);
        log_probabilities.gather(2, target.unsqueeze_dim(2)).mean().neg()
    });
    println!("MiB: 8 rows {}, 32 rows {}, with all logits {}", few >> 20, many >> 20, control >> 20);
    let growth = many.saturating_sub(few);
    assert!(growth < logits(24) / 4, "{few} -> {many} bytes");
    assert!(many < logits(32) / 2, "{many} bytes");
    assert!(control > logits(32), "with all logits: {control} bytes"); // the same limit catches what keeps them
}
