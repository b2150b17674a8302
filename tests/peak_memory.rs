//! Peak memory: a model's loss never holds the logits of its batch, and gradient checkpointing needs less. Its own process,
//! since the peak is that of the process.
#![allow(clippy::unwrap_used)]

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};
use contextlm_core::{BackboneConfig, ContextLm, ContextLmConfig, Gpt2Config};
use contextlm_tests::{cpu, ids, tokens};
use peak_alloc::PeakAlloc;
use std::sync::Mutex;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// One test at a time: the peak is that of all threads.
static ALONE: Mutex<()> = Mutex::new(());

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
    let _alone = ALONE.lock();
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

#[test]
fn gradient_checkpointing_lowers_the_peak() {
    let _alone = ALONE.lock();
    let backbone =
        Gpt2Config { vocab_size: 64, n_positions: LENGTH, n_embd: 64, n_layer: 6, n_head: 4, ..Gpt2Config::default() };
    let config = ContextLmConfig::new(BackboneConfig::Gpt2(backbone)).with_default_context();
    let rows = 8;
    let peak = |device: burn::tensor::Device| {
        let model = config.init(&device).unwrap();
        let measure = || {
            let input = ids(&tokens(rows, LENGTH, 64, 1), rows, &device);
            let target = ids(&tokens(rows, LENGTH, 64, 2), rows, &device);
            HEAP.reset_peak_usage();
            let before = HEAP.current_usage();
            drop(model.loss(input, target).backward());
            HEAP.peak_usage() - before
        };
        measure(); // as above
        measure()
    };
    let plain = peak(cpu().autodiff());
    let checkpointed = peak(cpu().autodiff().gradient_checkpointing());
    println!("MiB: {:.1} without, {:.1} with", plain as f64 / 1048576.0, checkpointed as f64 / 1048576.0);
    assert!(checkpointed < plain * 9 / 10, "{plain} -> {checkpointed} bytes");
}
