mod directory;
mod recipes;
mod resume;
mod settings;
mod training;

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
