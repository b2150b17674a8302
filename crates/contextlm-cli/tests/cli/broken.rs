//! Model directories with something wrong in them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::{contextlm, fails, fixture, json_of, text, with_tokenizer};

#[test]
fn values_that_are_no_numbers_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let (from, out) = (folder.path().join("from"), folder.path().join("out"));
    fs::create_dir(&from).unwrap();
    fs::copy(fixture("gpt2").join("config.json"), from.join("config.json")).unwrap();
    let mut bytes = fs::read(fixture("gpt2").join("model.safetensors")).unwrap();
    let end = bytes.len();
    bytes[end - 8..].copy_from_slice(&[f32::NAN.to_le_bytes(), f32::INFINITY.to_le_bytes()].concat());
    fs::write(from.join("model.safetensors"), bytes).unwrap();

    let warning = format!("warning: 2 values in {} are infinite or no number", from.display());
    let (from, out) = (text(&from), text(&out));
    for args in [
        &["score", "--model", from, "--tokens", "1 2"][..],
        &["import", "--from", from, "--out", out],
        &["export", "--from", from, "--out", out, "--overwrite"],
    ] {
        let output = contextlm(args);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && errors.contains(&warning), "{args:?}: {errors}");
    }
}

#[test]
fn a_tokenizer_that_is_cut_off_or_of_another_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = with_tokenizer(folder.path());
    let path = dir.join("tokenizer.json");
    let calls = [
        ["score", "--model", text(&dir), "--text", "one two"],
        ["generate", "--model", text(&dir), "--prompt", "one two"],
    ];
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    for call in &calls {
        assert!(fails(call, 1).contains("tokenizer.json: "), "{call:?}");
    }
    // The model has 320 tokens.
    let words: String = (0..400).map(|n| format!("word{n} ")).collect();
    let other = contextlm_data::Tokenizer::train([Ok(contextlm_data::Document::new(words.repeat(2)))], 330).unwrap();
    other.save(&path).unwrap();
    for call in &calls {
        let error = fails(call, 1);
        assert!(error.contains("has 330 tokens, but the model 320: it is another model's"), "{call:?}: {error}");
    }
}

/// Sizes that each can be, and layers that the files cannot have.
#[test]
fn inspect_counts_no_model_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let dir = text(folder.path());
    let inspect = |config: &Value| {
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        fails(&["inspect", "--model", dir], 1)
    };
    let most = i32::MAX;
    let gpt2 = json!({ "model_type": "gpt2", "n_embd": most, "n_inner": most, "vocab_size": most, "n_positions": most,
        "n_head": 1, "n_layer": 10000 });
    let llama = json!({ "model_type": "llama", "num_attention_heads": 46340, "num_key_value_heads": 46340,
        "head_dim": 46340, "num_hidden_layers": 10000, "max_position_embeddings": most });
    let neox = json!({ "model_type": "gpt_neox", "hidden_size": 1 << 30, "num_attention_heads": 1 << 15 });
    let learned = json!({ "model_type": "contextlm", "backbone": neox,
        "context": { "pooling": "learned", "chunk_size": most } });
    for config in [gpt2, llama, learned] {
        let error = inspect(&config);
        assert!(error.contains("more than 2^53 parameters") && error.lines().count() == 1, "{error}");
    }
    fs::copy(fixture("gpt2").join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let backbone = fs::read_to_string(fixture("gpt2").join("config.json")).unwrap();
    let backbone: Value = serde_json::from_str(&backbone).unwrap();
    let deep = json!({ "model_type": "contextlm", "backbone": backbone, "context": { "predictor_layers": 10000 } });
    assert!(inspect(&deep).contains("config.json: 10002 layers, but the weights have"));
}

#[test]
fn heads_that_are_null_stay_as_many() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    for kind in ["mistral", "qwen2", "llama"] {
        let config = json!({ "model_type": kind, "vocab_size": 31, "hidden_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 4, "num_key_value_heads": null, "intermediate_size": 24, "max_position_embeddings": 12,
            "sliding_window": null });
        let parsed = contextlm_core::ContextLmConfig::from_json(&config).unwrap();
        let model = parsed.init(&contextlm_device::device("cpu").unwrap()).unwrap();
        let options = contextlm_weights::SaveOptions { overwrite: true, ..Default::default() };
        contextlm_weights::save(&model, &parsed, &from, &options).unwrap();
        fs::write(from.join("config.json"), config.to_string()).unwrap();
        let score = |dir: &Path| json_of(&["score", "--model", text(dir), "--tokens", "1 2 3 4"])["logprobs"].clone();
        let expected = score(&from);
        for verb in ["export", "import"] {
            let out = folder.path().join(verb);
            json_of(&[verb, "--from", text(&from), "--out", text(&out), "--overwrite"]);
            assert_eq!(score(&out), expected, "{kind}, {verb}");
            let written: Value = serde_json::from_slice(&fs::read(out.join("config.json")).unwrap()).unwrap();
            let backbone = written.get("backbone").unwrap_or(&written);
            assert_eq!(backbone.get("num_key_value_heads"), Some(&Value::Null), "{kind}, {verb}");
        }
    }
}

/// A tokenizer may leave ids out; a model has numbers for them all the same.
#[test]
fn ids_without_a_token_are_never_sampled() {
    let folder = tempfile::tempdir().unwrap();
    let dir = with_tokenizer(folder.path());
    let mut vocabulary: serde_json::Map<String, Value> =
        (0..18).map(|id| (char::from(b'a' + id).to_string(), json!(id))).collect();
    vocabulary.insert("z".into(), json!(300));
    let tokenizer = json!({ "version": "1.0", "added_tokens": [],
        "pre_tokenizer": { "type": "Split", "pattern": { "Regex": "." }, "behavior": "Isolated", "invert": false },
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "a" } });
    fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let found = json_of(&[
        "generate",
        "--model",
        text(&dir),
        "--prompt",
        "abc",
        "--temperature",
        "50",
        "--max-new-tokens",
        "60",
    ]);
    let tokens: Vec<u64> = found["tokens"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
    assert!(tokens.len() == 60 && tokens.iter().all(|&id| id < 18 || id == 300), "{tokens:?}");
}

#[test]
fn what_a_name_spells_is_not_done() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture("gpt2").join("config.json"), folder.path().join("config.json")).unwrap();
    let evil = "a\u{1b}[31mevil\nerror: name";
    let header = json!({ evil: { "dtype": "F32", "shape": [1], "data_offsets": [0, 4] } }).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
    fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    let error = fails(&["score", "--model", text(folder.path()), "--tokens", "1 2"], 1);
    assert!(!error.contains('\u{1b}') && error.contains("unexpected: a\\u{1b}[31mevil\\nerror: name in"), "{error}");
    fs::write(folder.path().join("config.json"), r#"{"model_type": "gpt2", "n_embd": "\u001b[31m"}"#).unwrap();
    let error = fails(&["inspect", "--model", text(folder.path())], 1);
    assert!(!error.contains('\u{1b}') && error.contains("[31m"), "{error}");
}

/// What the reader of a message can do something about.
#[cfg(target_os = "linux")]
#[test]
fn places_that_cannot_be_written_are_named() {
    let error = fails(&["export", "--from", text(&fixture("gpt2")), "--out", "/proc/x"], 1);
    assert!(error.contains("/proc/x: no directory can be made in /proc") && !error.contains(".new-"), "{error}");
    let hub = crate::hub_server::Server::new([("config.json".to_string(), b"{}".to_vec())].into());
    let env = [("HF_HOME", "/proc/none"), ("HF_ENDPOINT", &*hub.options.endpoint)];
    let output = crate::hub::contextlm(&["inspect", "--model", "org/name"], &env);
    let error = crate::hub::said(output.stderr);
    assert!(error.contains("/proc/none") && error.contains("set HF_HOME"), "{error}");
}
