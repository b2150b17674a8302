//! Exact resume on every backend of the build where two runs that are not interrupted agree.

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

/// Losses and gradient norms up to a step.
fn train(trainer: &mut Trainer<AnyBackbone>, until: usize) -> Vec<(f64, f64)> {
    let stream: Vec<u32> = tokens(1, 2000, VOCABULARY, 5).into_iter().map(|token| token as u32).collect();
    let batches = Batches::new(stream, 32, 4, 3).unwrap();
    let mut step = |at: usize| trainer.step(&batches.batch(at as u64).unwrap()).unwrap();
    (if until == 40 { 20..40 } else { 0..20 }).map(|at| step(at)).map(|done| (done.loss, done.grad_norm)).collect()
}

fn whole(device: &Device) -> (Vec<(f64, f64)>, Vec<(String, Vec<f32>)>) {
    let mut trainer = trainer(device);
    let steps = [train(&mut trainer, 20), train(&mut trainer, 40)].concat();
    (steps, parameters(trainer.model()))
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
        train(&mut first, 20);
        first.save_checkpoint(&model(), checkpoints.of_step(20), None).unwrap();
        drop(first);
        let checkpoint = checkpoints.newest().unwrap().0.unwrap();
        let (mut second, _) = Trainer::resume(&checkpoint, config(), false, &device).unwrap();
        assert!(train(&mut second, 40) == expected.0[20..], "{name}: losses");
        assert!(parameters(second.model()) == expected.1, "{name}: parameters");
        println!("{name}: equal bit by bit");
    }
}
