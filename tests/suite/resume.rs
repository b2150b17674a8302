//! Exact resume on every backend of the build where two runs that are not interrupted agree.

use std::ops::Range;

use contextlm_core::{AnyBackbone, BackboneConfig, ContextLmConfig, Device, Gpt2Config};
use contextlm_data::Batches;
use contextlm_tests::{VOCABULARY, cpu, parameters, tokens};
use contextlm_train::{CheckpointFolder, TrainConfig, Trainer};

use crate::backends::devices;

fn model() -> ContextLmConfig {
    let BackboneConfig::Gpt2(backbone) = contextlm_tests::gpt2() else { unreachable!() };
    let backbone = Gpt2Config { resid_pdrop: 0.1, embd_pdrop: 0.1, attn_pdrop: 0.1, ..backbone };
    ContextLmConfig::new(BackboneConfig::Gpt2(backbone)).with_default_context()
}

fn config() -> TrainConfig {
    TrainConfig { steps: 40, micro_batch: Some(2), ..TrainConfig::default() }
}

fn trainer(device: &Device) -> Trainer<AnyBackbone> {
    Trainer::new(model().init_seeded(1, device).unwrap(), config()).unwrap()
}

/// Losses and gradient norms of some steps.
fn train(trainer: &mut Trainer<AnyBackbone>, steps: Range<u64>) -> Vec<(f64, f64)> {
    let stream: Vec<u32> = tokens(1, 2000, VOCABULARY, 5).into_iter().map(|token| token as u32).collect();
    let batches = Batches::new(stream, 32, 4, 3).unwrap();
    let mut step = |at: u64| {
        let done = trainer.step(&batches.batch(at).unwrap()).unwrap();
        (done.loss, done.grad_norm)
    };
    steps.map(&mut step).collect()
}

/// What a run of 40 steps leaves: losses and gradient norms of the second half, and parameters.
#[derive(PartialEq)]
struct Whole {
    steps: Vec<(f64, f64)>,
    parameters: Vec<(String, Vec<f32>)>,
}

fn whole(device: &Device) -> Whole {
    let mut trainer = trainer(device);
    train(&mut trainer, 0..20);
    let steps = train(&mut trainer, 20..40);
    Whole { steps, parameters: parameters(trainer.model()) }
}

#[test]
fn a_resumed_run_is_the_one_that_never_stopped() {
    let others = devices().into_iter().filter(|(name, _)| name == "libtorch");
    for (name, device) in [("cpu".to_string(), cpu())].into_iter().chain(others) {
        let device = device.autodiff();
        let expected = whole(&device);
        assert!(whole(&device) == expected, "{name}: two runs differ");

        let folder = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointFolder::new(folder.path());
        let mut first = trainer(&device);
        train(&mut first, 0..20);
        first.save_checkpoint(&model(), checkpoints.of_step(20), None).unwrap();
        drop(first);
        let checkpoint = checkpoints.newest().unwrap().0.unwrap();
        let (mut second, _) = Trainer::resume(&checkpoint, config(), false, &device).unwrap();
        assert!(train(&mut second, 20..40) == expected.steps, "{name}: losses");
        assert!(parameters(second.model()) == expected.parameters, "{name}: parameters");
        println!("{name}: equal bit by bit");
    }
}
