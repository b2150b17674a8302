//! Same seed, same run.

use contextlm_core::ContextLmConfig;
use contextlm_data::Batch;
use contextlm_tests::{VOCABULARY, cpu, neox, tokens};
use contextlm_train::{OptimizerConfig, ScheduleConfig, TrainConfig, Trainer};

/// Losses of 20 steps, from the model's and the data's seed.
fn losses(seed: u64) -> Vec<f64> {
    let model = ContextLmConfig::new(neox()).with_default_context().init_seeded(seed, &cpu().autodiff()).unwrap();
    let config = TrainConfig {
        steps: 20,
        optimizer: OptimizerConfig { lr: 1e-2, ..OptimizerConfig::default() },
        schedule: ScheduleConfig { warmup_steps: Some(2), ..ScheduleConfig::default() },
        ..TrainConfig::default()
    };
    let mut trainer = Trainer::new(model, config).unwrap();
    (0..20)
        .map(|step| {
            let (rows, length) = (3, 12);
            let inputs = tokens(rows, length, VOCABULARY, seed * 1000 + step);
            let targets = inputs.iter().map(|token| (token + 1) % VOCABULARY as i64).collect();
            trainer.step(&Batch { inputs, targets, rows, length, documents: None }).unwrap().loss
        })
        .collect()
}

#[test]
fn twenty_steps_repeat() {
    let run = losses(1);
    assert!(run == losses(1));
    assert!(run != losses(2));
    assert!(run[19] < run[0], "the model learns: {run:?}");
}
