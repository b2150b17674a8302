//! Dropout in training. Its own process with one test, because the CPU backend has one source of random numbers for all
//! threads.
#![allow(clippy::unwrap_used)]

use burn::tensor::{Distribution, Tensor};
use contextlm_core::{BackboneConfig, ContextLmConfig, GptNeoXConfig};
use contextlm_data::Batches;
use contextlm_train::{TrainConfig, Trainer};

/// Losses of four steps; with `noise`, other numbers are drawn in between.
fn losses(seed: u64, noise: bool) -> Vec<f64> {
    let backbone = GptNeoXConfig {
        vocab_size: 23,
        max_position_embeddings: 32,
        hidden_size: 16,
        intermediate_size: 64,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        hidden_dropout: 0.3,
        attention_dropout: 0.2,
        ..GptNeoXConfig::default()
    };
    let device = contextlm_device::device("cpu").unwrap().autodiff();
    let config = ContextLmConfig::new(BackboneConfig::GptNeoX(backbone)).with_default_context();
    let train = TrainConfig { seed, micro_batch: Some(2), ..TrainConfig::default() };
    let mut trainer = Trainer::new(config.init(&device).unwrap(), train).unwrap();
    let tokens: Vec<u32> = (0..400).map(|i| (i * i) % 23).collect();
    let batches = Batches::new(tokens, 16, 4, 0).unwrap();
    (0..4)
        .map(|step| {
            if noise {
                drop(Tensor::<1>::random([7], Distribution::Default, &device).into_data());
            }
            trainer.step(&batches.batch(step).unwrap()).unwrap().loss
        })
        .collect()
}

/// The numbers of dropout follow from seed, step and micro-batch alone, so that a run that goes on has the same.
#[test]
fn dropout_is_that_of_its_step() {
    let once = losses(0, false);
    assert_eq!(once, losses(0, true), "numbers drawn in between change nothing");
    assert_ne!(once, losses(1, false));
}
