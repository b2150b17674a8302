//! The program, called as a program.
#![allow(clippy::unwrap_used)]

#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/broken.rs"]
mod broken;
#[path = "cli/hub.rs"]
mod hub;
#[path = "../../contextlm-weights/tests/common/hub_server.rs"]
mod hub_server;
#[cfg(unix)]
#[path = "cli/preparing.rs"]
mod preparing;
#[cfg(unix)]
#[path = "cli/training.rs"]
mod training;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

#[path = "cli/contexts.rs"]
mod contexts;
#[path = "cli/eval.rs"]
mod eval;
#[path = "cli/hub_tasks.rs"]
mod hub_tasks;
#[path = "cli/pipeline.rs"]
mod pipeline;

fn contextlm(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_contextlm")).args(args).output().unwrap()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contextlm-weights/tests/fixtures").join(name)
}

/// The last line of stdout of a call that must succeed.
#[track_caller]
fn json_of(args: &[&str]) -> Value {
    let output = contextlm(&[args, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// The message of a call that must fail, with its exit code.
#[track_caller]
fn fails(args: &[&str], code: i32) -> String {
    let output = contextlm(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let message = String::from_utf8(output.stderr).unwrap();
    if code == 1 {
        assert!(message.starts_with("error: ") && output.stdout.is_empty(), "{message}");
    }
    message
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn inspect_counts_without_weights() {
    let plain = json_of(&["inspect", "--preset", "pythia-410m"]);
    assert_eq!(plain["parameters"], json!({ "backbone": 405334016, "context": 0, "total": 405334016 }));
    assert_eq!(plain["context"], Value::Null);

    let default = json_of(&["inspect", "--preset", "gpt2", "--context", "default"]);
    assert_eq!(
        (&default["context"]["chunk_size"], &default["context"]["predictor_positions"]),
        (&json!(2), &json!("none"))
    );
    let flops = |model: &Value, part: &str| model["flops_per_token"][part].as_u64().unwrap();
    assert_eq!(flops(&default, "total"), flops(&default, "backbone") + flops(&default, "context"));

    let chosen =
        json_of(&["inspect", "--preset", "gpt2", "--context", "chunk_size=8,fusion=concat,predictor_layers=1"]);
    assert_eq!((&chosen["context"]["chunk_size"], &chosen["context"]["fusion"]), (&json!(8), &json!("concat")));
    assert!(flops(&chosen, "context") < flops(&default, "context"));

    // Keys and values of 768 dimensions in f32: of 12 blocks a token, of two predictor blocks a chunk.
    let cache = &default["cache_bytes"];
    assert_eq!((&cache["per_token"], &cache["per_chunk"]), (&json!(12 * 6144), &json!(2 * 6144)));
    assert_eq!(plain["cache_bytes"]["per_chunk"], 0);

    let from_file = json_of(&["inspect", "--model", text(&fixture("contextlm/neox_defaults"))]);
    assert_eq!(from_file["context"]["fusion"], "normed_add");
    let shown = String::from_utf8(contextlm(&["inspect", "--preset", "gpt2"]).stdout).unwrap();
    assert!(shown.contains("124439808"), "{shown}");
}

/// Log-probabilities by hand from the logits that PyTorch has computed.
#[test]
fn score_is_that_of_pytorch() {
    for name in ["gpt2", "v5_llama", "contextlm/neox_defaults"] {
        let bytes = fs::read(fixture(name).join("expected.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let (tokens, logits) = (file.tensor("tokens").unwrap(), file.tensor("logits").unwrap());
        let (length, vocabulary) = (tokens.shape()[1], logits.shape()[2]);
        let words = |view: &safetensors::tensor::TensorView<'_>| view.data().as_chunks::<4>().0.to_vec();
        let ids: Vec<i32> = words(&tokens)[..length].iter().map(|word| i32::from_le_bytes(*word)).collect();
        let logits: Vec<f64> = words(&logits).iter().map(|word| f64::from(f32::from_le_bytes(*word))).collect();
        let expected: Vec<f64> = (1..length)
            .map(|t| {
                let row = &logits[(t - 1) * vocabulary..t * vocabulary];
                row[ids[t] as usize] - row.iter().map(|logit| logit.exp()).sum::<f64>().ln()
            })
            .collect();

        let given = ids.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(" ");
        let found = json_of(&["score", "--model", text(&fixture(name)), "--tokens", &given]);
        assert_eq!(found["tokens"], json!(ids));
        let logprobs: Vec<f64> = serde_json::from_value(found["logprobs"].clone()).unwrap();
        assert_eq!(logprobs.len(), expected.len());
        assert!(logprobs.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4), "{name}: {logprobs:?} {expected:?}");
        let nll = found["nll"].as_f64().unwrap();
        assert!((nll + expected.iter().sum::<f64>()).abs() < 1e-3, "{name}");
    }
}

fn scores(model: &Path) -> Value {
    json_of(&["score", "--model", text(model), "--tokens", "3 1 4 1 5 9 2 6 5 3 5"])["logprobs"].clone()
}

#[test]
fn an_imported_model_starts_as_the_original() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["gpt2", "neox", "llama"] {
        let (from, out) = (fixture(name), folder.path().join(name));
        let import = |more: &[&str]| json_of(&[&["import", "--from", text(&from), "--out", text(&out)], more].concat());
        let found = import(&[]);
        assert_eq!((&found["starts_equal"], &found["unused"]), (&json!(true), &json!([])), "{name}");
        assert!(found["parameters"]["context"].as_u64().unwrap() > 0 && found["tensors"].as_u64().unwrap() > 10);
        assert_eq!(scores(&out), scores(&from), "{name}");
        let config: Value = serde_json::from_slice(&fs::read(out.join("config.json")).unwrap()).unwrap();
        assert_eq!(
            (&config["context"]["fusion"], &config["context"]["encoder_layers"]),
            (&json!("projected_add"), &json!(1))
        );

        let found = import(&["--overwrite", "--context", "fusion=normed_add,chunk_size=3", "--seed", "4"]);
        assert_eq!(found["starts_equal"], json!(false));
        assert_ne!(scores(&out), scores(&from), "{name}");
    }
}

#[test]
fn import_takes_names_from_a_map() {
    let folder = tempfile::tempdir().unwrap();
    let (from, keys) = (folder.path().join("from"), folder.path().join("keys.txt"));
    // The ContextLM of another program: its own names, the config in ours.
    let source = fixture("contextlm/neox_defaults");
    let bytes = fs::read(source.join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let renamed = file.tensors().into_iter().map(|(name, view)| (name.replacen("context.", "lcm/", 1), view));
    fs::create_dir(&from).unwrap();
    safetensors::serialize_to_file(renamed, None, &from.join("model.safetensors")).unwrap();
    fs::copy(source.join("config.json"), from.join("config.json")).unwrap();
    fs::write(&keys, "lcm/(.*)  context.$1\n").unwrap();

    let out = folder.path().join("out");
    let args = ["import", "--from", text(&from), "--out", text(&out)];
    assert!(fails(&args, 1).contains("missing: context.initial"));
    let found = json_of(&[&args[..], &["--key-map", text(&keys)]].concat());
    assert_eq!(found["starts_equal"], Value::Null);
    assert_eq!(scores(&out), scores(&source));
    let again = [&args[..], &["--key-map", text(&keys), "--overwrite", "--context", "chunk_size=2"]].concat();
    assert!(fails(&again, 1).contains("is a ContextLM already"));
}

#[test]
fn export_writes_types_shards_and_python() {
    let folder = tempfile::tempdir().unwrap();
    let (from, out) = (fixture("contextlm/neox_defaults"), folder.path().join("out"));
    let args = ["export", "--from", text(&from), "--out", text(&out)];
    let more = ["--max-shard-bytes", "4000", "--with-python", "--training-data", "some books"];
    let files: Vec<String> = serde_json::from_value(json_of(&[&args[..], &more].concat())["files"].clone()).unwrap();
    for name in ["model.safetensors.index.json", "modeling_contextlm.py", "configuration_contextlm.py", "README.md"] {
        assert!(files.iter().any(|file| file == name), "{name}: {files:?}");
    }
    assert_eq!(scores(&out), scores(&from));
    let config: Value = serde_json::from_slice(&fs::read(out.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["auto_map"]["AutoModelForCausalLM"], "modeling_contextlm.ContextLMForCausalLM");
    assert!(fs::read_to_string(out.join("README.md")).unwrap().contains("| training data | some books |"));

    assert!(fails(&args, 1).contains("not empty"));
    let found = json_of(&[&args[..], &["--overwrite", "--dtype", "bf16"]].concat());
    assert_eq!(found["files"], json!(["README.md", "config.json", "model.safetensors"]));
    let bytes = fs::read(out.join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert!(file.tensors().iter().all(|(_, view)| view.dtype() == safetensors::Dtype::BF16));
}

#[test]
fn mistakes_are_named_in_a_line() {
    let gpt2 = fixture("gpt2");
    let model = text(&gpt2);
    for (args, message) in [
        (&["inspect", "--preset", "gpt3"][..], "gpt2-medium"),
        (&["inspect", "--preset", "gpt2", "--context", "chunk=3"], "chunk_size"),
        (&["inspect", "--preset", "gpt2", "--context", "encoder_layers=13"], "encoder_layers"),
        (&["inspect", "--model", "/nowhere"], "/nowhere"),
        (&["score", "--model", model, "--tokens", "1"], "at least 2"),
        (&["score", "--model", model, "--tokens", "1 x"], "--tokens x"),
        (&["score", "--model", model, "--tokens", "1 61"], "token 61: the model has 61"),
        (&["score", "--model", model, "--tokens", "1 2", "--device", "gpu"], "there is no such device"),
        (&["score", "--model", model, "--text", "hello"], "tokenizer.json"),
        (&["import", "--from", "/nowhere", "--out", "/absent/x"], "/nowhere"),
        (&["import", "--from", model, "--out", "/absent/x", "--key-map", "/nowhere"], "/nowhere"),
    ] {
        let found = fails(args, 1);
        assert!(found.contains(message) && found.trim_end().lines().count() == 1, "{args:?}: {found}");
    }
    let long = "1 ".repeat(14);
    assert!(fails(&["score", "--model", model, "--tokens", &long], 1).contains("12 positions"));
    for args in [&["score"][..], &["inspect"], &["train-me"], &["inspect", "--preset", "gpt2", "--model", "x"]] {
        fails(args, 2);
    }
    assert!(contextlm(&["import", "--help"]).status.success());
}

/// A model directory with a tokenizer, whose model is padded beyond it.
fn with_tokenizer(folder: &Path) -> PathBuf {
    let dir = folder.join("model");
    fs::create_dir(&dir).unwrap();
    let text = "one two three four five. ".repeat(20);
    let tokenizer = contextlm_data::Tokenizer::train([Ok(contextlm_data::Document::new(text))], 270).unwrap();
    tokenizer.save(dir.join("tokenizer.json")).unwrap();
    let config = json!({
        "model_type": "gpt_neox", "vocab_size": 320, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 64,
    });
    let config = contextlm_core::ContextLmConfig::from_json(&config).unwrap().with_default_context();
    let model = config.init(&contextlm_device::device("cpu").unwrap()).unwrap();
    let options =
        contextlm_weights::SaveOptions { overwrite: true, companions: Some(dir.clone()), ..Default::default() };
    let out = folder.join("contextlm");
    contextlm_weights::save(&model, &config, &out, &options).unwrap();
    out
}

#[test]
fn generate_continues_a_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let dir = with_tokenizer(folder.path());
    let args = |more: &[&'static str]| -> Vec<String> {
        let all = [&["generate", "--model", text(&dir), "--max-new-tokens", "12"], more].concat();
        all.into_iter().map(String::from).collect()
    };
    let run = |more: &[&'static str]| {
        let args = args(more);
        json_of(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let greedy = run(&["--prompt", "one two"]);
    assert_eq!(greedy["tokens"].as_array().unwrap().len(), 12);
    assert!(greedy["prompt_tokens"].as_u64().unwrap() > 0);
    for key in ["prefill_tokens_per_second", "decode_tokens_per_second"] {
        assert!(greedy[key].as_f64().unwrap() > 0.0, "{key}");
    }
    // From a file it is the same, and on stdout it is the text alone.
    let file = folder.path().join("prompt.txt");
    fs::write(&file, "one two").unwrap();
    let output =
        contextlm(&["generate", "--model", text(&dir), "--max-new-tokens", "12", "--prompt-file", text(&file)]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), greedy["text"].as_str().unwrap());

    // Chance follows the seed; padded ids never come.
    let sampled = ["--prompt", "one two", "--temperature", "5", "--seed", "3", "--samples", "3", "--logprobs"];
    let (first, again) = (run(&sampled), run(&sampled));
    assert_eq!(first["tokens"], again["tokens"]);
    assert_eq!(first["logprobs"].as_array().unwrap().len(), first["tokens"].as_array().unwrap().len());
    let others = first["more_samples"].as_array().unwrap();
    assert_eq!(others.len(), 2);
    assert_ne!(first["tokens"], others[0]["tokens"]);
    let tokenizer = contextlm_data::Tokenizer::from_dir(&dir).unwrap().vocab_size() as u64;
    let ids = |sample: &Value| sample["tokens"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).max();
    assert!(others.iter().chain([&first]).all(|sample| ids(sample) < Some(tokenizer)));

    // An end-of-text token of the directory ends it.
    let end = greedy["tokens"][4].as_u64().unwrap();
    let at = greedy["tokens"].as_array().unwrap().iter().position(|id| id.as_u64() == Some(end)).unwrap();
    fs::write(dir.join("generation_config.json"), json!({ "eos_token_id": [end] }).to_string()).unwrap();
    let ended = run(&["--prompt", "one two"]);
    assert_eq!((&ended["finish"], ended["tokens"].as_array().unwrap().len()), (&json!("stop_token"), at));
    assert_eq!(run(&["--prompt", "one two", "--ignore-end"])["tokens"], greedy["tokens"]);

    let dir = text(&dir);
    assert!(fails(&["generate", "--model", dir, "--prompt", ""], 1).contains("empty"));
    assert!(fails(&["generate", "--model", dir, "--prompt", "a", "--top-p", "2"], 1).contains("top_p"));
    assert!(fails(&["generate", "--model", dir, "--prompt", "a", "--logit-bias", "1"], 2).contains("ID=BIAS"));
    let error = fails(&["generate", "--model", text(&fixture("gpt2")), "--prompt", "a"], 1);
    assert!(error.contains("tokenizer.json"), "{error}");
    let long = "one ".repeat(100);
    assert!(fails(&["generate", "--model", dir, "--prompt", &long], 1).contains("64"));
}

/// A prompt on stdin, a stop string that ends within the text, and windows: the model has 64 positions, rotary ones.
#[test]
fn generate_stops_slides_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let dir = with_tokenizer(folder.path());
    let base = ["generate", "--model", text(&dir), "--ignore-end"];
    let with = |more: &[&'static str]| json_of(&[&base[..], &["--prompt", "one two"], more].concat());
    let greedy = with(&["--max-new-tokens", "12"]);

    let mut child = Command::new(env!("CARGO_BIN_EXE_contextlm"))
        .args([&base[..], &["--max-new-tokens", "12", "--json"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"one two").unwrap();
    let piped = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let piped: Value = serde_json::from_str(piped.lines().last().unwrap()).unwrap();
    assert_eq!(piped["text"], greedy["text"]);

    let all = greedy["text"].as_str().unwrap();
    let stop: String = all.chars().skip(3).take(2).collect();
    let args = [&base[..], &["--prompt", "one two", "--max-new-tokens", "12", "--stop", &stop]].concat();
    let stopped = json_of(&args);
    assert_eq!(stopped["text"].as_str().unwrap(), &all[..all.find(&stop).unwrap()]);
    assert_eq!(stopped["finish"], "stop_string");

    let count = |json: &Value| json["tokens"].as_array().unwrap().len();
    let ended = with(&["--max-new-tokens", "100"]);
    assert!(count(&ended) < 64 && ended["finish"] == "window");
    for option in [&["--slide", "32"][..], &["--allow-longer"]] {
        let longer = with(&[&["--max-new-tokens", "100"], option].concat());
        assert_eq!((count(&longer), &longer["finish"]), (100, &json!("length")), "{option:?}");
    }
}

#[test]
fn bf16_is_another_type() {
    let dir = fixture("llama");
    let score = |dtype: &str| json_of(&["score", "--model", text(&dir), "--tokens", "1 2 3", "--dtype", dtype]);
    let (full, half) = (score("f32"), score("bf16"));
    let (full, half) = (full["nll"].as_f64().unwrap(), half["nll"].as_f64().unwrap());
    assert!(full != half && (full - half).abs() < 2e-2 * full, "{full} {half}");
}
