use contextlm_core::{BackboneConfig, ContextLm, Gpt2Config};
use contextlm_data::Batches;

use super::*;
use crate::{GuardConfig, OptimizerConfig, OptimizerName, StepMetrics};

fn model() -> ContextLmConfig {
    let backbone = Gpt2Config {
        vocab_size: 23,
        n_positions: 16,
        n_embd: 16,
        n_layer: 2,
        n_head: 2,
        resid_pdrop: 0.0,
        embd_pdrop: 0.0,
        attn_pdrop: 0.0,
        ..Gpt2Config::default()
    };
    ContextLmConfig::new(BackboneConfig::Gpt2(backbone)).with_default_context()
}

fn device() -> Device {
    contextlm_device::device("cpu").unwrap().autodiff()
}

fn config(name: OptimizerName) -> TrainConfig {
    let optimizer = OptimizerConfig { name, ..OptimizerConfig::default() };
    TrainConfig { steps: 40, optimizer, ..TrainConfig::default() }
}

fn trainer(name: OptimizerName) -> Trainer<AnyBackbone> {
    Trainer::new(model().init(&device()).unwrap(), config(name)).unwrap()
}

fn train(trainer: &mut Trainer<AnyBackbone>, until: usize) -> Vec<(usize, u64, f64, f64, f64)> {
    let tokens: Vec<u32> = (0..700).map(|i| (i * i + i / 9) % 23).collect();
    let batches = Batches::new(tokens, 16, 3, 1).unwrap();
    let numbers = |done: StepMetrics| (done.step, done.tokens, done.loss, done.grad_norm, done.lr);
    (trainer.progress().step..until)
        .map(|step| numbers(trainer.step(&batches.batch(step as u64).unwrap()).unwrap()))
        .collect()
}

fn parameters(model: &ContextLm) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("model");
    contextlm_weights::save_tensors(model, &dir, &SaveOptions::default()).unwrap();
    fs::read(dir.join("model.safetensors")).unwrap()
}

/// A folder with the checkpoint of step 20, and one of step 10.
fn two_checkpoints() -> (tempfile::TempDir, CheckpointFolder) {
    let temporary = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::new(temporary.path().join("run"));
    let mut trainer = trainer(OptimizerName::AdamW);
    for step in [10, 20] {
        train(&mut trainer, step);
        trainer.save_checkpoint(&model(), folder.of_step(step), None).unwrap();
    }
    (temporary, folder)
}

#[test]
fn a_resumed_run_is_the_one_that_never_stopped() {
    for name in [OptimizerName::AdamW, OptimizerName::Muon] {
        let mut whole = trainer(name);
        let expected = train(&mut whole, 40);

        let temporary = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::new(temporary.path().join("run"));
        let mut first = trainer(name);
        train(&mut first, 20);
        first.save_checkpoint(&model(), folder.of_step(20), None).unwrap();
        drop(first);

        let (checkpoint, damaged) = folder.newest().unwrap();
        let checkpoint = checkpoint.unwrap();
        assert_eq!((checkpoint.step(), damaged.len()), (20, 0));
        let (mut second, found) = Trainer::resume(&checkpoint, config(name), false, &device()).unwrap();
        assert_eq!(found.to_json(), model().to_json());
        assert_eq!(train(&mut second, 40), expected[20..], "{name:?}");
        assert_eq!(second.progress(), whole.progress());
        assert!(parameters(second.model()) == parameters(whole.model()), "{name:?}");
    }
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_is_taken() {
    let (_temporary, folder) = two_checkpoints();
    let newest = folder.of_step(20);
    for file in ["model.safetensors", OPTIMIZER, "config.json"] {
        let whole = fs::read(newest.join(file)).unwrap();
        let mut broken = whole.clone();
        *broken.last_mut().unwrap() ^= 1;
        fs::write(newest.join(file), broken).unwrap();
        let (found, damaged) = folder.newest().unwrap();
        assert_eq!(found.unwrap().step(), 10);
        assert!(damaged.len() == 1 && damaged[0].path == newest && damaged[0].reason.contains(file), "{damaged:?}");
        fs::write(newest.join(file), whole).unwrap();
    }
    assert_eq!(folder.newest().unwrap().0.unwrap().step(), 20);
    for text in ["", "{", "{}", r#"{"format": 1}"#] {
        fs::write(newest.join(STATE), text).unwrap();
        assert_eq!(folder.newest().unwrap().0.unwrap().step(), 10, "{text}");
    }
    fs::remove_file(newest.join(STATE)).unwrap();
    assert_eq!(folder.newest().unwrap().0.unwrap().step(), 10);
}

#[test]
fn what_cannot_be_read_and_what_another_version_wrote_is_not_passed_over() {
    let (_temporary, folder) = two_checkpoints();
    let state = folder.of_step(20).join(STATE);
    fs::write(&state, r#"{"format": 2}"#).unwrap();
    let message = folder.newest().unwrap_err().to_string();
    assert!(message.contains("step-00000020") && message.contains("format 2"), "{message}");
    // A directory opens and cannot be read: an error of I/O, as of a disk that fails.
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    assert!(matches!(folder.newest(), Err(TrainError::File { path, .. }) if path == state));
}

#[test]
fn damaged_ones_alone_are_an_error_that_names_them() {
    let (_temporary, folder) = two_checkpoints();
    for step in [10, 20] {
        fs::write(folder.of_step(step).join(OPTIMIZER), "").unwrap();
    }
    let message = folder.newest().unwrap_err().to_string();
    for part in ["step-00000010", "step-00000020", OPTIMIZER, "every checkpoint is damaged"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_damaged_one_that_was_passed_over_pushes_no_whole_one_out() {
    let (_temporary, folder) = two_checkpoints();
    fs::write(folder.of_step(20).join(OPTIMIZER), "").unwrap();
    let (found, damaged) = folder.newest().unwrap();
    folder.set_aside(&damaged).unwrap();
    assert!(folder.of_step(20).with_extension("damaged").exists());
    let (mut trainer, _) = Trainer::resume(&found.unwrap(), config(OptimizerName::AdamW), false, &device()).unwrap();
    train(&mut trainer, 15);
    trainer.save_checkpoint(&model(), folder.of_step(15), None).unwrap();
    folder.prune(1, None).unwrap();
    assert_eq!(folder.newest().unwrap().0.unwrap().step(), 15);
    assert!(!folder.of_step(10).exists());
}

#[test]
fn what_killed_processes_left_is_swept_away() {
    let (_temporary, folder) = two_checkpoints();
    fs::remove_file(folder.of_step(20).join(DONE)).unwrap();
    let beside = |name: &str| folder.of_step(20).with_file_name(name);
    let remains = [".step-00000030.partial", "..step-00000030.partial.new-17"];
    let others = ["notes", "step-mine", ".step-00000030", "step-00000020.damaged"];
    for name in remains.iter().chain(&others) {
        fs::create_dir(beside(name)).unwrap();
    }
    folder.sweep().unwrap();
    assert!(remains.iter().all(|name| !beside(name).exists()) && !folder.of_step(20).exists());
    assert!(others.iter().all(|name| beside(name).exists()) && folder.of_step(10).exists());
}

/// serde_json reads this rate as one that is a unit of its last place off. So it may read losses.
#[test]
fn numbers_of_many_digits_are_no_change() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::new(temporary.path());
    let mut settings = config(OptimizerName::AdamW);
    settings.optimizer.lr = 0.001_258_925_411_794_167_5;
    let mut trainer = Trainer::new(model().init(&device()).unwrap(), settings.clone()).unwrap();
    for step in 1..8 {
        train(&mut trainer, step);
        trainer.save_checkpoint(&model(), folder.of_step(step), None).unwrap();
        let checkpoint = folder.newest().unwrap().0.unwrap();
        let resume = |settings: &TrainConfig| Trainer::resume(&checkpoint, settings.clone(), false, &device());
        assert_eq!(resume(&settings).unwrap().0.progress(), trainer.progress());
        let mut other = settings.clone();
        for _ in 0..4 {
            other.optimizer.lr = other.optimizer.lr.next_up();
        }
        let message = resume(&other).err().unwrap().to_string();
        assert!(message.contains("optimizer.lr: 0.00125892541179416"), "{message}");
    }
}

#[test]
fn what_has_no_done_is_no_checkpoint() {
    let (_temporary, folder) = two_checkpoints();
    fs::remove_file(folder.of_step(20).join(DONE)).unwrap();
    let (found, damaged) = folder.newest().unwrap();
    assert_eq!((found.unwrap().step(), damaged.len()), (10, 0));
    assert!(CheckpointFolder::new("/nowhere").newest().unwrap().0.is_none());
}

#[test]
fn old_ones_go_and_the_best_stays() {
    let (_temporary, folder) = two_checkpoints();
    let mut trainer = trainer(OptimizerName::AdamW);
    for step in [30, 40] {
        trainer.save_checkpoint(&model(), folder.of_step(step), None).unwrap();
    }
    train(&mut trainer, 1);
    folder.prune(2, Some(10)).unwrap();
    let left = |step: usize| folder.of_step(step).exists();
    assert_eq!([10, 20, 30, 40].map(left), [true, false, true, true]);
    folder.prune(0, None).unwrap();
    assert_eq!([10, 20, 30, 40].map(left), [false, false, false, true], "one always stays");
}

#[test]
fn other_settings_are_refused_with_their_keys_unless_allowed() {
    let (_temporary, folder) = two_checkpoints();
    let checkpoint = folder.newest().unwrap().0.unwrap();
    let mut other = config(OptimizerName::AdamW);
    other.optimizer.lr = 0.5;
    other.guard = GuardConfig { max_skipped: 3, ..other.guard };
    let error = Trainer::resume(&checkpoint, other.clone(), false, &device()).err().unwrap().to_string();
    assert!(error.contains("guard.max_skipped: 10 -> 3") && error.contains("optimizer.lr: 0.001 -> 0.5"), "{error}");
    assert!(Trainer::resume(&checkpoint, other, true, &device()).is_ok());
    // Muon has another state.
    let error = Trainer::resume(&checkpoint, config(OptimizerName::Muon), true, &device()).err().unwrap().to_string();
    assert!(error.contains("optimizer.name = \"muon\"") && error.contains("the state of \"adamw\""), "{error}");
}

#[test]
fn a_checkpoint_is_a_model_directory() {
    let (_temporary, folder) = two_checkpoints();
    let loaded = load(folder.of_step(10), &contextlm_device::device("cpu").unwrap()).unwrap();
    assert_eq!(loaded.config.to_json(), model().to_json());
}

/// In rows shorter than a chunk no context is predicted, so the predictor has no gradient and the optimizer no state of it.
#[test]
fn parameters_without_a_gradient_do_not_make_a_checkpoint_damaged() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::new(temporary.path());
    let short = |trainer: &mut Trainer<AnyBackbone>| {
        let batches = Batches::new(vec![1, 2, 3, 4, 5, 6, 7], 1, 1, 1).unwrap();
        let step = trainer.progress().step;
        trainer.step(&batches.batch(step as u64).unwrap()).unwrap().loss
    };
    let mut first = trainer(OptimizerName::AdamW);
    short(&mut first);
    assert!(first.optimizer_state().tensors.keys().all(|name| !name.contains("predictor")));
    first.save_checkpoint(&model(), folder.of_step(1), None).unwrap();
    let checkpoint = folder.newest().unwrap().0.unwrap();
    let (mut second, _) = Trainer::resume(&checkpoint, config(OptimizerName::AdamW), false, &device()).unwrap();
    assert_eq!(short(&mut second), short(&mut first));
}
