//! What a run that goes on refuses, keeps and makes up for.

use super::*;

#[test]
fn a_validation_that_an_interrupt_left_out_is_made_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (config(folder.path(), "whole"), config(folder.path(), "parts"));
    let expected = train(&whole, RunOptions::default(), usize::MAX).unwrap();
    assert!(train(&parts, RESUME, 10).unwrap().stopped);
    let found = train(&parts, RESUME, usize::MAX).unwrap();
    assert_eq!(found.valid, expected.valid);
    let valid = |config: &RunConfig| -> Vec<Value> {
        metrics(config).into_iter().filter(|line| line.get("valid_loss").is_some()).collect()
    };
    assert_eq!(valid(&whole).len(), 5);
    assert_eq!(valid(&parts), valid(&whole));

    // What is through tells its last validation, and makes no other.
    let again = train(&parts, RESUME, usize::MAX).unwrap();
    assert!((again.valid.unwrap().loss() - expected.valid.unwrap().loss()).abs() < 1e-12);
    assert_eq!(valid(&parts).len(), 5);
}

#[test]
fn damaged_checkpoints_never_cost_what_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "run");
    config.checkpoint.keep = 3;
    train(&config, RunOptions::default(), usize::MAX).unwrap();
    let dir = config.checkpoint.dir.clone();
    let damage = |step: usize| fs::write(dir.join(format!("step-{step:08}/optimizer.safetensors")), "").unwrap();
    [20, 24].into_iter().for_each(damage);
    config.checkpoint.keep = 1;
    config.checkpoint.every = 4;
    let remains = dir.join("..step-00000023.partial.new-7");
    fs::create_dir(&remains).unwrap();
    let found = train(&config, RESUME, 2).unwrap();
    assert_eq!(found.damaged.len(), 2);
    assert!(found.checkpoint.unwrap().join("DONE").exists(), "the one that was just written stays");
    assert!(dir.join("step-00000024.damaged").exists() && !remains.exists());

    // With no whole one left nothing is begun anew in silence.
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.join("DONE").exists() {
            fs::write(path.join("optimizer.safetensors"), "").unwrap();
        }
    }
    let before = fs::read(dir.join("metrics.jsonl")).unwrap();
    let message = train(&config, RESUME, usize::MAX).unwrap_err().to_string();
    assert!(message.contains("every checkpoint is damaged") && message.contains("step-00000012"), "{message}");
    assert!(fs::read(dir.join("metrics.jsonl")).unwrap() == before);
}

#[test]
fn a_run_keeps_its_model() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "run");
    train(&config, RunOptions::default(), 2).unwrap();
    let allowed = RunOptions { allow_config_change: true, ..RESUME };
    config.model.context.as_mut().unwrap().insert("chunk_size".into(), 4.into());
    let message = train(&config, allowed.clone(), 1).unwrap_err().to_string();
    assert!(message.contains("model.context.chunk_size: 2 -> 4"), "{message}");
    config.model.context.as_mut().unwrap().insert("chunk_size".into(), 2.into());
    config.optimizer.name = crate::OptimizerName::Muon;
    let message = train(&config, allowed, 1).unwrap_err().to_string();
    assert!(message.contains("optimizer.name") && message.contains("adamw"), "{message}");
}

#[test]
fn a_key_that_an_earlier_version_did_not_write_has_its_default() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "run");
    train(&config, RunOptions::default(), 2).unwrap();
    let path = config.checkpoint.dir.join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    let earlier = text.replace("momentum = 0.95\n", "");
    assert_ne!(earlier, text);
    fs::write(&path, &earlier).unwrap();
    train(&config, RESUME, 1).unwrap();
    fs::write(&path, &earlier).unwrap();
    config.optimizer.momentum = 0.9;
    let message = train(&config, RESUME, 1).unwrap_err().to_string();
    assert!(message.contains("optimizer.momentum: 0.95 -> 0.9"), "{message}");
}

/// A rate of 17 digits is read from JSON as another one, see [`as_read`].
#[test]
fn a_rate_of_many_digits_is_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "run");
    config.optimizer.lr = 0.001_258_925_411_794_167_5;
    train(&config, RunOptions::default(), 2).unwrap();
    train(&config, RESUME, 1).unwrap();
    config.optimizer.lr = config.optimizer.lr.next_up();
    let message = train(&config, RESUME, 1).unwrap_err().to_string();
    assert!(message.contains("optimizer.lr: 0.0012589254117941675 -> "), "{message}");
}

#[test]
fn losses_on_another_text_do_not_stand_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "run");
    train(&config, RunOptions::default(), 7).unwrap();
    let valid = |config: &RunConfig| metrics(config).iter().filter(|line| line.get("valid_loss").is_some()).count();
    assert_eq!(valid(&config), 1);
    // The same path with another text in it.
    let path = config.data.valid.clone().unwrap();
    let (there, other) = (folder.path().join("kept"), folder.path().join("shards/train"));
    fs::rename(&path, &there).unwrap();
    fs::create_dir(&path).unwrap();
    for entry in fs::read_dir(other).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
    }
    let message = train(&config, RESUME, 1).unwrap_err().to_string();
    assert!(message.contains("data.valid: 200 tokens with sha256"), "{message}");
    assert_eq!(valid(&config), 1, "what is refused changes nothing");
    train(&config, RunOptions { allow_config_change: true, ..RESUME }, 1).unwrap();
    assert_eq!(valid(&config), 0);
    // Longer rows give lower losses on the same text.
    train(&config, RESUME, 3).unwrap();
    assert_eq!(valid(&config), 1);
    config.data.sequence_length = 32;
    config.train.micro_batch = None;
    train(&config, RunOptions { allow_config_change: true, ..RESUME }, 1).unwrap();
    assert_eq!(valid(&config), 0);
}

#[test]
fn a_run_goes_on_with_its_own_text() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "run");
    train(&config, RunOptions::default(), 2).unwrap();
    let (path, valid) = (config.data.train.clone(), config.data.valid.clone().unwrap());
    fs::rename(&path, folder.path().join("kept")).unwrap();
    fs::create_dir(&path).unwrap();
    for entry in fs::read_dir(valid).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
    }
    let message = train(&config, RESUME, 1).unwrap_err().to_string();
    assert!(message.contains("data.train: ") && message.contains("step-00000002"), "{message}");
    train(&config, RunOptions { allow_config_change: true, ..RESUME }, 1).unwrap();
    // Now this is its text.
    train(&config, RESUME, 1).unwrap();
}

#[test]
fn settings_are_written_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "run");
    train(&config, RunOptions::default(), 2).unwrap();
    let settings = config.checkpoint.dir.join("config.toml");
    let before = fs::read(&settings).unwrap();
    // As on a disk that is full.
    fs::create_dir(config.checkpoint.dir.join("config.partial")).unwrap();
    config.checkpoint.keep = 7;
    assert!(train(&config, RESUME, 1).unwrap_err().to_string().contains("config.partial"));
    assert!(fs::read(&settings).unwrap() == before);
}

#[test]
fn batches_that_end_early_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "run");
    let mut session = Session::open(&config, &cpu(), RunOptions::default()).unwrap();
    let few: Vec<_> = (0..3).map(|n| session.batches.batch(n)).collect();
    let error = session.train_on(few.into_iter(), || false, &Progress::hidden()).unwrap_err().to_string();
    assert!(error.contains("ended after step 3 of 24"), "{error}");
}

#[test]
fn a_loss_that_is_no_number_is_never_the_best() {
    let found = [(f64::NAN, 5), (2.0, 10), (f64::NAN, 15), (1.0, 20), (1.5, 25)];
    assert_eq!(found.into_iter().fold(None, better), Some((1.0, 20)));
    assert_eq!(better(None, found[0]), None);
}

#[test]
fn rows_fit_the_model_and_something_is_trained_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "run");
    for (change, part) in [
        (
            (|config| {
                config.data.sequence_length = 64;
                config.train.micro_batch = None;
            }) as fn(&mut RunConfig),
            "data.sequence_length = 64: must be at most the model's positions, 32",
        ),
        (|config| config.train.freeze = vec![".*".into()], "takes every parameter out of training"),
    ] {
        let mut wrong = config.clone();
        change(&mut wrong);
        let message = train(&wrong, RunOptions::default(), 1).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        assert!(!config.checkpoint.dir.join("config.toml").exists());
    }
}
