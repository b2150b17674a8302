//! Three optimizer steps with clipping have the losses that PyTorch has; `tools/write_fixtures.py` trains the same way.

use std::path::Path;

use contextlm_core::IGNORE_INDEX;
use contextlm_data::Batch;
use contextlm_tests::cpu;
use contextlm_train::{OptimizerConfig, ScheduleConfig, ScheduleName, TrainConfig, Trainer};
use safetensors::SafeTensors;

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
