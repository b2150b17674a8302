//! Runs from their start to their end, and what stops them.

use super::*;

#[test]
fn a_run_that_was_stopped_goes_on_as_if_it_had_not_been() {
    let folder = tempfile::tempdir().unwrap();
    // Dropout is 0.1 in GPT-2's config.
    let whole = config(folder.path(), "whole");
    let expected = train(&whole, RunOptions::default(), usize::MAX).unwrap();
    assert_eq!((expected.progress.step, expected.progress.tokens), (24, 24 * 64));
    assert!(!expected.stopped && expected.valid.is_some() && expected.tokens_per_second > 0.0);

    let parts = config(folder.path(), "parts");
    assert!(train(&parts, RESUME, 7).unwrap().stopped);
    // What a killed run leaves behind its last checkpoint.
    let lines = parts.checkpoint.dir.join("metrics.jsonl");
    let text = fs::read_to_string(&lines).unwrap() + "{\"step\":8,\"loss\":1}\n{\"st";
    fs::write(&lines, text).unwrap();
    assert!(train(&parts, RESUME, 9).unwrap().stopped);
    let found = train(&parts, RESUME, usize::MAX).unwrap();
    assert_eq!(found.progress, expected.progress);
    let steps = |config: &RunConfig| -> Vec<Value> {
        metrics(config).into_iter().filter(|line| line.get("loss").is_some()).collect()
    };
    assert_eq!(steps(&parts), steps(&whole));
    let weights = |config: &RunConfig| fs::read(config.checkpoint.dir.join("step-00000024/model.safetensors")).unwrap();
    assert!(weights(&parts) == weights(&whole));

    // A run that is through has nothing more to do.
    let again = train(&parts, RESUME, usize::MAX).unwrap();
    assert_eq!((again.progress, again.tokens_per_second), (expected.progress, 0.0));
    assert_eq!(again.checkpoint, found.checkpoint);
}

#[test]
fn a_run_that_goes_wrong_names_its_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "run");
    config.guard = crate::GuardConfig { max_spike: 1.0, max_skipped: 3 };
    (config.checkpoint.every, config.checkpoint.keep) = (1, 100);
    let mut session = Session::open(&config, &cpu(), RunOptions::default()).unwrap();
    let train = |session: &mut Session, positions: std::ops::Range<u64>| {
        let batches: Vec<_> = positions.map(|at| session.batches.batch(at)).collect();
        session.train_on(batches.into_iter(), || false, &Progress::hidden()).unwrap_err()
    };
    train(&mut session, 0..5);
    // As after an update that has spoiled the parameters: from now on every loss is a spike.
    let progress = TrainProgress { smoothed_loss: Some(0.0), ..*session.trainer.progress() };
    let state = session.trainer.optimizer_state();
    session.trainer.restore(state, progress, Path::new("")).unwrap();
    let error = train(&mut session, 5..24);
    assert!(matches!(error, TrainError::Skipped { step: 8, count: 3, .. }), "{error}");
    // The last good step was made from the checkpoint before it. Those after it may be of parameters that fail.
    let named = config.checkpoint.dir.join("step-00000004");
    let message = error.to_string();
    assert!(
        message.contains(&format!("the last good checkpoint is {}: remove the newer", named.display())),
        "{message}"
    );
    assert!(named.exists());
    let skipped: Vec<_> = metrics(&config).into_iter().filter(|line| line["skipped"] == true).collect();
    assert_eq!(skipped.len(), 2, "the last step ends the run");
}

#[test]
fn a_checkpoint_of_parameters_that_fail_is_not_called_good() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "run");
    config.schedule.warmup_steps = Some(10);
    config.optimizer.lr = 1e3;
    config.guard = crate::GuardConfig { max_spike: 1.0, max_skipped: 3 };
    config.checkpoint.every = 1;
    let error = train(&config, RunOptions::default(), usize::MAX).unwrap_err();
    let TrainError::Skipped { step: 4, count: 3, .. } = error else { panic!("{error}") };
    let message = error.to_string();
    let newest = config.checkpoint.dir.join("step-00000003");
    assert!(newest.exists() && message.contains(newest.to_str().unwrap()), "{message}");
    assert!(message.contains("no step from the newest checkpoint was good"), "{message}");
    assert_eq!(metrics(&config).iter().filter(|line| line["skipped"] == true).count(), 2);
}

/// The values of every tensor of a model directory.
fn tensors(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = fs::read(dir.join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect()
}

#[test]
fn the_context_path_of_a_retrofitted_model_trains_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut plain = config(folder.path(), "plain");
    let context = plain.model.context.take();
    (plain.train.tokens, plain.train.steps) = (None, Some(2));
    let base = train(&plain, RunOptions::default(), usize::MAX).unwrap().checkpoint.unwrap();
    let mut config = plain.clone();
    config.checkpoint.dir = folder.path().join("context");
    config.model = ModelTable { path: Some(base.clone()), context, ..ModelTable::default() };
    config.train.freeze = vec![r"transformer\..*".into()];
    config.train.steps = Some(4);
    assert!(train(&config, RunOptions::default(), 3).unwrap().stopped);
    let trained = tensors(&train(&config, RESUME, usize::MAX).unwrap().checkpoint.unwrap());
    for (name, values) in tensors(&base) {
        assert!(trained[&name] == values, "{name}");
    }
    // It begins at 0.
    assert!(trained["context.fusion.proj.weight"].iter().any(|byte| *byte != 0));
}

#[test]
fn the_first_of_equal_losses_is_the_best_however_often_a_run_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    for (name, stops) in [("whole", &[][..]), ("parts", &[7, 4])] {
        let mut config = config(folder.path(), name);
        config.optimizer.lr = 0.0;
        (config.checkpoint.every, config.checkpoint.keep) = (5, 1);
        for stop in stops.iter().chain([&usize::MAX]) {
            train(&config, RESUME, *stop).unwrap();
        }
        let left: Vec<_> =
            (1..=24).filter(|step| config.checkpoint.dir.join(format!("step-{step:08}")).exists()).collect();
        assert_eq!(left, [5, 24], "{name}");
    }
}

#[test]
fn seeds_are_runs_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "group");
    assert_eq!(config.runs().unwrap(), [config.clone()]);
    config.train.seeds = vec![3, 7];
    let runs = config.runs().unwrap();
    assert_eq!(runs.iter().map(|run| run.train.seed).collect::<Vec<_>>(), [3, 7]);
    assert!(runs[1].checkpoint.dir.ends_with("group/seed-7") && runs[1].train.seeds.is_empty());
    assert!(train(&config, RunOptions::default(), usize::MAX).unwrap_err().to_string().contains("train.seeds"));
    let losses: Vec<_> = runs
        .iter()
        .map(|run| {
            let mut run = run.clone();
            (run.train.tokens, run.train.steps) = (None, Some(3));
            train(&run, RunOptions::default(), usize::MAX).unwrap();
            metrics(&run)[0]["loss"].as_f64().unwrap()
        })
        .collect();
    assert_ne!(losses[0], losses[1]);
    config.train.seeds = vec![3, 3];
    assert!(config.runs().unwrap_err().to_string().contains("train.seeds = 3"));
    config.train.seeds = vec![3];
    config.train.seed = 1;
    assert!(config.runs().unwrap_err().to_string().contains("train.seed = 1"));
}

#[test]
fn gradient_checkpointing_changes_no_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut plain = config(folder.path(), "plain");
    (plain.train.tokens, plain.train.steps) = (None, Some(4));
    let mut checkpointed = plain.clone();
    checkpointed.checkpoint.dir = folder.path().join("checkpointed");
    checkpointed.train.gradient_checkpointing = true;
    for config in [&plain, &checkpointed] {
        train(config, RunOptions::default(), usize::MAX).unwrap();
    }
    assert_eq!(metrics(&plain), metrics(&checkpointed));
}

#[test]
fn packed_documents_and_bf16_train() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "packed");
    config.data.packing = true;
    config.train.dtype = TrainDtype::Bf16;
    config.train.tokens = Some(64 * 6);
    let summary = train(&config, RunOptions::default(), usize::MAX).unwrap();
    let mut stream = config.clone();
    stream.data.packing = false;
    stream.train.dtype = TrainDtype::F32;
    stream.checkpoint.dir = folder.path().join("stream");
    let other = train(&stream, RunOptions::default(), usize::MAX).unwrap();
    let (a, b) = (summary.valid.unwrap().loss(), other.valid.unwrap().loss());
    assert!(a != b && (a - b).abs() < 0.1, "{a} {b}");
}
