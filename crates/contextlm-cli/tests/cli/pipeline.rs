//! From text to shards, to a trained model, to a comparison.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::{contextlm, fails, json_of, text, with_tokenizer};

#[test]
fn prepare_writes_shards() {
    let folder = tempfile::tempdir().unwrap();
    let model = with_tokenizer(folder.path());
    let lines: String = (0..200).map(|n| format!("{{\"body\": \"one two {n}\"}}\n")).collect();
    let input = folder.path().join("a.jsonl");
    fs::write(&input, lines).unwrap();
    let (tokenizer, out) = (model.join("tokenizer.json"), folder.path().join("shards"));
    let args = ["prepare", "--tokenizer", text(&tokenizer), "--out", text(&out), text(&input)];
    let error = fails(&args, 1);
    assert!(error.contains("a.jsonl, line 1") && error.contains("text"), "{error}");
    let found = json_of(&[&args[..], &["--key", "body", "--valid-fraction", "0.3", "--overwrite"]].concat());
    assert_eq!((&found["documents"], &found["shards"]), (&json!(200), &json!(2)));
    let count = |set: &str, key: &str| found[set][key].as_u64().unwrap();
    assert!(count("valid", "documents") > 20);
    for key in ["tokens", "documents", "bytes"] {
        assert_eq!(found[key].as_u64().unwrap(), count("train", key) + count("valid", key), "{key}");
    }
    let shard = fs::read(out.join("train/000000.bin")).unwrap();
    assert_eq!(shard.len() as u64, 1024 + 2 * count("train", "tokens"));
    assert!(fails(&[&args[..], &["--key", "body"]].concat(), 1).contains("already"));

    // Of a line that lacks the key, its name and its number; then it is counted and passed over.
    fs::write(&input, "{\"body\": \"one\"}\n{\"text\": \"two\"}\n{\"body\": \"three\"}\n").unwrap();
    let again = [&args[..], &["--key", "body", "--valid-fraction", "0", "--overwrite"]].concat();
    assert!(fails(&again, 1).contains("a.jsonl, line 2"));
    let found = json_of(&[&again[..], &["--skip-bad"]].concat());
    assert_eq!((&found["documents"], &found["skipped"]), (&json!(2), &json!(1)));
}

#[test]
fn train_goes_from_text_to_a_model_that_generates() {
    let folder = tempfile::tempdir().unwrap();
    let model = with_tokenizer(folder.path());
    let input = folder.path().join("a.txt");
    fs::write(&input, "one two three four five. ".repeat(400)).unwrap();
    let (shards, run) = (folder.path().join("shards"), folder.path().join("run"));
    json_of(&["prepare", "--tokenizer", text(&model), "--out", text(&shards), text(&input), "--valid-fraction", "0"]);
    let config = folder.path().join("config.toml");
    let written = format!(
        "[model]\npath = {model:?}\n[data]\ntrain = {:?}\nvalid = {:?}\nsequence_length = 32\n\
         [train]\nsteps = 6\nbatch_tokens = 128\n[optimizer]\nlr = 3e-3\n[checkpoint]\ndir = {run:?}\n",
        shards.join("train"),
        shards.join("train"),
    );
    fs::write(&config, written).unwrap();
    let dry = json_of(&["train", text(&config), "--dry-run", "--set", "schedule.warmup_steps=2"]);
    assert_eq!((&dry["tokens"], &dry["schedule"]["warmup_steps"]), (&json!(768), &json!(2)));
    let dry = json_of(&["train", text(&config), "--dry-run", "--set", "train.seeds=[1, 2]"]);
    assert_eq!((&dry["tokens"], &dry["runs"]), (&json!(2 * 768), &json!(2)));
    for (set, part) in [("train.seeds=[1, 1]", "train.seeds = 1"), ("checkpoint.keep=0", "checkpoint.keep = 0")] {
        let message = fails(&["train", text(&config), "--dry-run", "--set", set], 1);
        assert!(message.contains(part), "{message}");
    }
    assert!(!run.exists());
    let output =
        contextlm(&["train", text(&config), "--set", "train.steps=4", "--set", "log.tensorboard=true", "--json"]);
    let lines = String::from_utf8(output.stderr).unwrap();
    for part in
        ["training 1/4  128 tokens  loss ", "training 4/4  512 tokens  loss ", "grad ", "tok/s  MFU n/a  left 0s"]
    {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    for name in ["report.html", "run.json", "config.toml", "metrics.jsonl", "events.out.tfevents."] {
        assert!(names.iter().any(|found| found.to_string_lossy().starts_with(name)), "{name}: {names:?}");
    }
    assert_eq!((&done["steps"], &done["tokens"]), (&json!(4), &json!(512)));
    for key in ["loss", "valid_loss", "tokens_per_second"] {
        assert!(done[key].as_f64().unwrap() > 0.0, "{key}");
    }
    assert!(fails(&["train", text(&config), "--set", "train.steps=4"], 1).contains("not empty"));
    assert!(fails(&["train", text(&config), "--resume"], 1).contains("steps"));
    let more = json_of(&["train", text(&config), "--resume", "--allow-config-change"]);
    assert_eq!(more["steps"], 6);
    assert!(more["valid_loss"].as_f64() < done["valid_loss"].as_f64());
    let other = folder.path().join("other");
    let dir = format!("checkpoint.dir={}", text(&other));
    json_of(&["train", text(&config), "--set", "train.seed=1", "--set", &dir]);
    let page = folder.path().join("compare.html");
    let compared = json_of(&["compare", text(&run), &format!("b={}", text(&other)), "--out", text(&page)]);
    assert_eq!((&compared["groups"][1]["name"], &compared["equal_tokens"]["at"]), (&json!("b"), &json!(768.0)));
    let of = |row: usize, key: &str| compared["equal_compute"]["rows"][row][key].clone();
    assert_eq!((of(0, "loss")["mean"].as_f64(), of(0, "difference")), (more["valid_loss"].as_f64(), Value::Null));
    assert_eq!((&of(1, "loss")["seeds"], &of(1, "difference")["interval"]), (&json!(1), &Value::Null));
    assert!(fs::read_to_string(&page).unwrap().contains("<svg"));
    let words = String::from_utf8(contextlm(&["compare", text(&run), text(&other)]).stdout).unwrap();
    assert!(words.contains("at equal compute") && words.contains("n/a (one seed)"), "{words}");
    assert_eq!(json_of(&["report", text(&run), "--out", text(&page)])["report"], json!(text(&page)));
    assert!(fails(&["compare", text(&run), text(folder.path())], 1).contains("this is no run"));
    fails(&["compare", text(&run)], 2);
    assert!(fails(&["report", text(folder.path())], 1).contains("metrics.jsonl"));

    let checkpoint = more["checkpoint"].as_str().unwrap();
    let generated = json_of(&["generate", "--model", checkpoint, "--prompt", "one two", "--max-new-tokens", "3"]);
    assert_eq!(generated["tokens"].as_array().unwrap().len(), 3);
    let error = fails(&["train", text(&config), "--set", "train.stepps=4"], 1);
    assert!(error.contains("train.steps") && error.contains("config.toml"), "{error}");
}

#[test]
fn every_recipe_is_one() {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut totals = BTreeMap::new();
    for entry in fs::read_dir(recipes).unwrap() {
        let path = entry.unwrap().path();
        // Neither its data nor its device are here.
        let found = json_of(&["train", text(&path), "--dry-run"]);
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        let context = found["parameters"]["context"].as_u64().unwrap();
        assert_eq!(context > 0, !name.contains("plain"), "{name}");
        assert!(found["tokens"].as_u64().unwrap() > 1_000_000, "{name}");
        assert!(found["memory_bytes"]["total"].as_u64() > found["parameters"]["total"].as_u64(), "{name}");
        totals.insert(name, found["parameters"]["total"].as_f64().unwrap());
    }
    assert_eq!(totals.len(), 60);
    // Five rows a size, three of them of one size.
    for (name, total) in totals.iter().filter(|(name, _)| name.ends_with("-contextlm")) {
        let row = |row: &str| totals[&name.replace("contextlm", row)];
        for deep in ["plain-deep", "constant-deep"] {
            assert!((row(deep) / total - 1.0).abs() < 0.002, "{name}: {total} and {}", row(deep));
        }
        assert!(row("plain") < row("constant") && row("constant") < *total, "{name}");
    }
}
