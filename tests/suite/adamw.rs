//! Three optimizer steps with clipping have the losses that PyTorch has; `tools/write_fixtures.py` trains the same way.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use contextlm_core::IGNORE_INDEX;
use contextlm_data::Batch;
use contextlm_kernels::{AdamWStep, adamw};
use contextlm_tests::{cpu, values};
use contextlm_train::{OptimizerConfig, ScheduleConfig, ScheduleName, TrainConfig, Trainer};
use safetensors::SafeTensors;

use crate::backends::devices;

fn check(name: &str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/contextlm-weights/tests/fixtures").join(name);
    let bytes = std::fs::read(dir.join("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let words = |name: &str| expected.tensor(name).unwrap().data().as_chunks::<4>().0.to_vec();
    let [rows, length] = expected.tensor("tokens").unwrap().shape().try_into().unwrap();
    let inputs: Vec<i64> = words("tokens").into_iter().map(|word| i32::from_le_bytes(word).into()).collect();
    let losses: Vec<f32> = words("losses").into_iter().map(f32::from_le_bytes).collect();
    assert_eq!(losses.len(), 3);

    let targets = inputs.chunks(length).flat_map(|row| [&row[1..], &[IGNORE_INDEX]].concat()).collect();
    let batch = Batch { inputs, targets, rows, length, documents: None };
    let model = contextlm_weights::load(&dir, &cpu().autodiff()).unwrap().model;
    let schedule = ScheduleConfig { name: ScheduleName::Constant, warmup_steps: Some(0), ..ScheduleConfig::default() };
    let optimizer = OptimizerConfig {
        lr: 1e-2,
        betas: (0.9, 0.95),
        eps: 1e-8,
        weight_decay: 0.1,
        grad_clip: 1.0,
        ..OptimizerConfig::default()
    };
    let config = TrainConfig { steps: 3, schedule, optimizer, ..TrainConfig::default() };
    let mut trainer = Trainer::new(model, config).unwrap();
    for (step, expected) in losses.into_iter().enumerate() {
        let done = trainer.step(&batch).unwrap();
        let off = (done.loss - f64::from(expected)).abs();
        assert!(off <= 1e-4, "{name}, step {step}: loss {} instead of {expected}", done.loss);
        assert!(done.grad_norm > 1.0, "{name}, step {step}: nothing is clipped");
        println!("{name}, step {step}: off by {off:.1e}");
    }
}

#[test]
fn gpt_2() {
    for name in ["gpt2", "gpt2_odd_head", "v5_gpt2"] {
        check(name);
    }
}

#[test]
fn gpt_neox() {
    for name in ["neox", "neox_serial", "neox_tied", "v5_neox"] {
        check(name);
    }
}

#[test]
fn llama_family() {
    for name in [
        "llama",
        "llama_biased",
        "llama_scaled",
        "llama_scaled_fast",
        "mistral",
        "qwen2",
        "v5_llama",
        "v5_mistral",
        "v5_qwen2",
    ] {
        check(name);
    }
}

/// Where the step is one pass, it is the same as on flex, and leaves tensors that somebody else holds as they are.
#[test]
fn one_pass_on_every_backend_that_has_one() {
    let step = |time| AdamWStep { lr: 0.02, beta_1: 0.875, beta_2: 0.9375, eps: 1e-3, weight_decay: 0.25, time };
    // The last one turned, so that its elements are not in the order of memory.
    let noise = |shape: [usize; 2], seed: f32, device: &Device| -> Tensor<2> {
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|i| ((i as f32) * 1.7 + seed).sin()).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    };
    let run = |shape: [usize; 2], turned: bool, device: &Device| -> Option<Vec<Vec<f32>>> {
        let of = |seed| match turned {
            true => noise([shape[1], shape[0]], seed, device).transpose(),
            false => noise(shape, seed, device),
        };
        let (mut x, mut m, mut v) = (of(1.0), of(2.0) * 0.1, of(3.0).square());
        for time in 1..4 {
            let (held, before) = (x.clone(), values(x.clone()));
            adamw(&mut x, of(3.0 + time as f32), [&mut m, &mut v], step(time))?;
            assert_eq!(values(held), before);
            assert_ne!(values(x.clone()), before);
        }
        Some(vec![values(x), values(m), values(v)])
    };
    for (shape, turned) in [([1, 1], false), ([3, 33], false), ([7, 5], true), ([300, 401], false)] {
        let expected = run(shape, turned, &cpu()).unwrap();
        for (name, device) in devices() {
            let found = run(shape, turned, &device).unwrap();
            let tolerance = if name == "libtorch" { 1e-6 } else { 1e-5 };
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= tolerance * b.abs().max(1.0)),
                    "{name}"
                );
            }
        }
    }
}
