mod resume;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;

use contextlm_data::{Document, PrepareOptions, Tokenizer, prepare};
use serde_json::Value;

use super::*;
use crate::{RunRecord, TrainDtype};

/// Shards of a text, and a config that trains a small model on them.
fn config(folder: &Path, out: &str) -> RunConfig {
    let shards = folder.join("shards");
    if !shards.exists() {
        let text = |n: usize| format!("document {n} says that {} is {n} and not {}. ", n * 7, n + 1).repeat(3);
        let lines: String = (0..300).map(|n| format!("{}\n", serde_json::json!({ "text": text(n) }))).collect();
        let input = folder.join("a.jsonl");
        fs::write(&input, lines).unwrap();
        let texts = (0..300).map(|n| Ok(Document::new(text(n))));
        let tokenizer = Tokenizer::train(texts, 300).unwrap();
        let options = PrepareOptions { held: Some(contextlm_data::Held::Fraction(0.1)), ..PrepareOptions::default() };
        prepare(&[input], &tokenizer, &shards, &options, |_| true).unwrap();
        tokenizer.save(shards.join("tokenizer.json")).unwrap();
    }
    let text = format!(
        r#"
        [model]
        backbone = {{ model_type = "gpt2", vocab_size = 300, n_positions = 32, n_embd = 16, n_layer = 2, n_head = 2 }}
        context = {{ chunk_size = 2 }}
        [data]
        train = "{shards}/train"
        valid = "{shards}/valid"
        sequence_length = 16
        [train]
        tokens = 1500
        batch_tokens = 64
        micro_batch = 2
        [optimizer]
        lr = 3e-3
        [checkpoint]
        dir = "{out}"
        every = 10
        keep = 1
        [eval]
        every = 5
        tokens = 200
        "#,
        shards = shards.display(),
        out = folder.join(out).display(),
    );
    let path = folder.join("config.toml");
    fs::write(&path, text).unwrap();
    RunConfig::from_file(path, &[]).unwrap()
}

fn cpu() -> Device {
    contextlm_device::device("cpu").unwrap()
}

fn train(config: &RunConfig, options: RunOptions, stop_after: usize) -> Result<RunSummary, TrainError> {
    let steps = Cell::new(0);
    let stop = || {
        steps.set(steps.get() + 1);
        steps.get() >= stop_after
    };
    run(config, &cpu(), options, |_| (), stop, &Progress::hidden())
}

/// The lines of the metrics without what depends on the clock.
fn metrics(config: &RunConfig) -> Vec<Value> {
    let text = fs::read_to_string(config.checkpoint.dir.join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let mut line: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
        line.remove("tokens_per_second");
        serde_json::json!(line)
    };
    text.lines().map(line).collect()
}

const RESUME: RunOptions = RunOptions { resume: true, allow_config_change: false, hardware: None };

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
fn the_directory_holds_what_the_run_was() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "run");
    let summary = train(&config, RunOptions::default(), usize::MAX).unwrap();
    let dir = &config.checkpoint.dir;
    assert_eq!(RunConfig::from_file(dir.join("config.toml"), &[]).unwrap(), config);
    assert!(fs::read_to_string(dir.join("report.html")).unwrap().contains("<svg"));
    let record = RunRecord::read(dir).unwrap();
    let about = record.about.unwrap();
    assert_eq!((about.sessions.len(), &about.sessions[0].versions), (1, &Versions::current()));
    assert_eq!(about.validation.unwrap().tokens, record.history.valid[0].valid_tokens);
    assert_eq!((record.history.steps.len(), record.history.valid[4].tokens), (24, 24 * 64));
    assert!(about.training_flops_per_token > Some(0) && record.history.steps.iter().all(|step| step.mfu.is_none()));
    // The last checkpoint, and the best one if it is another; each with its tokenizer.
    let checkpoint = summary.checkpoint.unwrap();
    assert!(checkpoint.ends_with("step-00000024") && checkpoint.join("tokenizer.json").exists());
    contextlm_weights::load(&checkpoint, &cpu()).unwrap();
    let valid: Vec<_> = metrics(&config).into_iter().filter(|line| line.get("valid_loss").is_some()).collect();
    let steps: Vec<u64> = valid.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [5, 10, 15, 20, 24]);
    assert!(valid[4]["valid_loss"].as_f64() < valid[0]["valid_loss"].as_f64(), "it learns");
    let kept = fs::read_dir(dir)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("step-"));
    assert!(kept.count() <= 2);
}

#[test]
fn what_is_told_of_a_run_that_went_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "run");
    config.log = LogTable { tensorboard: cfg!(feature = "tensorboard"), peak_flops: Some(1e12) };
    train(&config, RESUME, 3).unwrap();
    // Neither the peak nor TensorBoard changes the result.
    config.log = LogTable { tensorboard: config.log.tensorboard, peak_flops: None };
    let options = RunOptions { hardware: Some("NVIDIA H200".into()), ..RESUME };
    train(&config, options, usize::MAX).unwrap();
    let record = RunRecord::read(&config.checkpoint.dir).unwrap();
    let about = record.about.unwrap();
    let sessions: Vec<_> = about.sessions.iter().map(|session| (session.from_step, session.peak_flops)).collect();
    assert_eq!(sessions, [(0, Some(1e12)), (3, Some(494.7e12))]);
    for step in record.history.steps {
        let peak = if step.metrics.step <= 3 { 1e12 } else { 494.7e12 };
        let expected = step.metrics.tokens_per_second * about.training_flops_per_token.unwrap() as f64 / peak;
        assert!((step.mfu.unwrap() / expected - 1.0).abs() < 1e-12);
        assert!(step.smoothed_loss.unwrap() > 0.0);
    }
    let names = fs::read_dir(&config.checkpoint.dir).unwrap().map(|entry| entry.unwrap().file_name());
    let events = names.filter(|name| name.to_string_lossy().contains("tfevents")).count();
    assert_eq!(events, if cfg!(feature = "tensorboard") { 2 } else { 0 });

    // Processes that made no step beyond a checkpoint are told of once.
    train(&config, RESUME, usize::MAX).unwrap();
    train(&config, RESUME, usize::MAX).unwrap();
    let sessions = RunRecord::read(&config.checkpoint.dir).unwrap().about.unwrap().sessions;
    assert_eq!(sessions.iter().map(|session| session.from_step).collect::<Vec<_>>(), [0, 3, 24]);

    config.log.peak_flops = Some(0.0);
    let message = train(&config, RESUME, 1).unwrap_err().to_string();
    assert!(message.contains("log.peak_flops = 0"), "{message}");
}

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
fn a_run_that_goes_wrong_names_its_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "run");
    config.schedule.warmup_steps = Some(10);
    config.optimizer.lr = 1e3;
    config.guard = crate::GuardConfig { max_spike: 1.0, max_skipped: 3 };
    config.checkpoint.every = 1;
    let error = train(&config, RunOptions::default(), usize::MAX).unwrap_err();
    let TrainError::Skipped { step, count, .. } = error else { panic!("{error}") };
    assert_eq!(count, 3);
    // Skipped steps leave the parameters as they were, so the one before the last is as good as any.
    let named = config.checkpoint.dir.join(format!("step-{:08}", step - 1));
    assert!(named.exists() && error.to_string().contains(named.to_str().unwrap()), "{error}");
    let lines = metrics(&config);
    assert_eq!(lines.iter().filter(|line| line["skipped"] == true).count(), 2, "the last step ends the run");
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

/// Every recipe, and whether its model has contexts.
fn recipes() -> Vec<(String, bool)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = paths.map(|path| fs::read_to_string(path).unwrap());
    texts.map(|text| (text.clone(), text.contains("[model.context]"))).collect()
}

#[test]
fn recipes_tell_of_every_key() {
    let context = serde_json::to_value(contextlm_core::ContextConfig::default()).unwrap();
    let context: Vec<_> = context.as_object().unwrap().keys().cloned().collect();
    for (text, has_context) in recipes() {
        let name = text.lines().find(|line| line.starts_with("dir = ")).unwrap();
        for (table, keys) in keys::KNOWN {
            let table = text.split_once(&format!("[{table}]\n")).unwrap_or_else(|| panic!("{name}: no [{table}]")).1;
            for key in keys.iter().filter(|key| has_context || **key != "context") {
                let words = table.split(|c: char| !c.is_alphanumeric() && c != '_');
                assert!(words.into_iter().any(|word| word == *key), "{name}: {key}");
            }
        }
        let told = |key: &String| text.contains(&format!("\n{key} = "));
        assert!(!has_context || context.iter().all(told), "{name}: not all of {context:?}");
    }
}

#[test]
fn every_key_of_a_recipe_has_type_and_default() {
    let types = ["integer", "float", "string", "boolean", "list of", "table"];
    for (text, _) in recipes() {
        let mut comment = String::new();
        for line in text.lines() {
            match line.strip_prefix('#') {
                Some(more) => comment += more,
                None if line.contains(" = ") => {
                    let explained = types.iter().any(|kind| comment.contains(kind)) && comment.contains("efault");
                    assert!(explained, "{line}: {comment}");
                    comment.clear();
                }
                None => comment.clear(),
            }
        }
    }
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
