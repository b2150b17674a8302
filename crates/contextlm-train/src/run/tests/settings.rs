//! Keys, values, and what is refused.

use super::*;

#[test]
fn what_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "run");
    config.train.tokens = None;
    config.train.steps = Some(2);
    train(&config, RunOptions::default(), usize::MAX).unwrap();
    let error = |config: &RunConfig, options| train(config, options, usize::MAX).unwrap_err().to_string();
    assert!(error(&config, RunOptions::default()).contains("not empty"));

    // What changes nothing of the result may change.
    let mut other = config.clone();
    other.checkpoint.keep = 7;
    train(&other, RESUME, usize::MAX).unwrap();
    other.optimizer.lr = 1e-4;
    let message = error(&other, RESUME);
    assert!(message.contains("optimizer.lr: 0.003 -> 0.0001"), "{message}");
    train(&other, RunOptions { allow_config_change: true, ..RESUME }, usize::MAX).unwrap();

    let lock = fs::File::options().write(true).open(config.checkpoint.dir.join("run.lock")).unwrap();
    lock.lock().unwrap();
    assert!(error(&config, RESUME).contains("another process"));

    let mut fresh = config.clone();
    fresh.checkpoint.dir = folder.path().join("fresh");
    for (change, part) in [
        ((|config| config.train.batch_tokens = 65) as fn(&mut RunConfig), "train.batch_tokens = 65"),
        (|config| config.train.tokens = Some(5), "train.steps"),
        (|config| config.data.sequence_length = 0, "data.sequence_length"),
        (|config| config.data.train = "no/such".into(), "no/such"),
        (|config| config.model.preset = Some("gpt2".into()), "exactly one of"),
        (|config| drop(config.model.backbone.as_mut().unwrap().insert("vocab_size".into(), 200.into())), "token "),
        (|config| drop(config.model.context.as_mut().unwrap().insert("chunk".into(), 2.into())), "chunk_size"),
    ] {
        let mut wrong = fresh.clone();
        change(&mut wrong);
        let message = error(&wrong, RunOptions::default());
        assert!(message.contains(part), "{message}");
        assert!(!fresh.checkpoint.dir.exists(), "nothing was written");
    }
}

#[test]
fn what_is_set_takes_the_place_of_its_alternatives() {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/small-contextlm.toml");
    let read = |set: &[&str]| {
        let set: Vec<String> = set.iter().map(|pair| pair.to_string()).collect();
        let config = RunConfig::from_file(&recipe, &set).map_err(|error| error.to_string())?;
        config.training().and_then(|training| training.validate()).map_err(|error| error.to_string())?;
        config.model_config(&cpu()).map_err(|error| error.to_string())?;
        Ok::<_, String>(config)
    };
    let table = read(&["train.steps=10"]).unwrap().train;
    assert_eq!((table.steps, table.tokens), (Some(10), None));
    assert_eq!(read(&["schedule.warmup_steps=3"]).unwrap().schedule.warmup_steps, Some(3));
    let model = read(&["model.preset=gpt2"]).unwrap().model;
    assert!(model.backbone.is_none() && model.context.is_some());
    let deeper = read(&["model.backbone.n_layer=6"]).unwrap().model.backbone.unwrap();
    assert_eq!((&deeper["n_layer"], &deeper["n_embd"]), (&Value::from(6), &Value::from(128)));
    // Whoever gives both is told.
    assert!(
        read(&["train.steps=10", "train.tokens=4096"]).unwrap_err().contains("one of train.steps and train.tokens")
    );
}

#[test]
fn keys_are_checked_and_set() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path(), "run");
    let path = folder.path().join("config.toml");
    let read = |set: &str| RunConfig::from_file(&path, &[set.to_string()]).map_err(|error| error.to_string());
    assert_eq!(read("optimizer.lr=0.5").unwrap().optimizer.lr, 0.5);
    assert_eq!(read("train.device=wgpu").unwrap().train.device, "wgpu");
    assert_eq!(read("train.dtype = bf16").unwrap().train.dtype, TrainDtype::Bf16);
    assert_eq!(read("model.context.chunk_size=8").unwrap().model.context.unwrap()["chunk_size"], 8);
    for (set, part) in [
        ("optimizer.learning_rate=1", "optimizer.learning_rate = 1: there is no such key"),
        ("optimizer.lrr=1", "the nearest is optimizer.lr"),
        ("optimiser.lr=1", "the nearest is [optimizer]"),
        ("optimizer.lr=fast", "lr"),
        ("optimizer", "table.key=value"),
        ("train.dtype=f8", "f8"),
    ] {
        let message = read(set).unwrap_err();
        assert!(message.contains(part) && message.contains("config.toml"), "{message}");
    }
    fs::write(&path, "[model]\npreset = \n").unwrap();
    assert!(read("train.seed=1").unwrap_err().contains("line 2"));
}

#[test]
fn every_key_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "run");
    config.train.steps = Some(1);
    config.train.freeze = vec!["a".into()];
    config.train.seeds = vec![1];
    config.schedule.warmup_steps = Some(1);
    let table: toml::Table = toml::from_str(&config.to_toml().unwrap()).unwrap();
    keys::check(&table).unwrap();
}

#[test]
fn decay_groups_are_counted_without_values() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "run");
    let shape = config.model_config(&cpu()).unwrap();
    for patterns in [vec![], vec![r"transformer\.h\.0\..*".to_string(), r".*\.bias".to_string()]] {
        config.train.freeze = patterns;
        let model = shape.init(&cpu().autodiff()).unwrap();
        let counted = config.decay_groups(&model).unwrap();
        let trainer = Trainer::new(model, config.training().unwrap()).unwrap();
        assert_eq!(counted, trainer.decay_groups());
    }
    config.train.freeze = vec!["no".into()];
    let error = config.decay_groups(&shape.init(&cpu()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("matches no parameter"), "{error}");
}
