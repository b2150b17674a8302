use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;

use contextlm_data::{Document, PrepareOptions, Tokenizer, prepare};
use serde_json::Value;

use super::*;
use crate::TrainDtype;

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
    run(config, &cpu(), options, stop, &Progress::hidden())
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

const RESUME: RunOptions = RunOptions { resume: true, allow_config_change: false };

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
    assert!(fs::read_to_string(dir.join("report.svg")).unwrap().contains("<svg"));
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
    config.schedule.warmup_steps = Some(1);
    let table: toml::Table = toml::from_str(&config.to_toml().unwrap()).unwrap();
    keys::check(&table).unwrap();
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
