//! `contextlm eval perplexity` and `contextlm eval tasks`.

use std::fs;
use std::path::{Path, PathBuf};

use contextlm_core::{BackboneConfig, ContextConfig, ContextLmConfig, GptNeoXConfig};
use serde_json::{Value, json};

use super::{contextlm, fails, json_of, text, with_tokenizer};

const TASKS: &str =
    "arc_challenge,arc_easy,blimp,boolq,hellaswag,lambada_openai,openbookqa,piqa,sciq,wikitext,winogrande";

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tasks")
}

/// A small random model, plain or ContextLM, with the tokenizer of the tasks.
pub(crate) fn model(folder: &Path, name: &str, context: Option<ContextConfig>) -> PathBuf {
    let backbone = BackboneConfig::GptNeoX(GptNeoXConfig {
        vocab_size: 710,
        hidden_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 3,
        intermediate_size: 48,
        max_position_embeddings: 96,
        initializer_range: 0.3,
        ..GptNeoXConfig::default()
    });
    let config = ContextLmConfig { context, ..ContextLmConfig::new(backbone) };
    let model = config.init(&contextlm_device::device("cpu").unwrap()).unwrap();
    let dir = folder.join(name);
    contextlm_weights::save(&model, &config, &dir, &contextlm_weights::SaveOptions::default()).unwrap();
    fs::copy(data().join("tokenizer.json"), dir.join("tokenizer.json")).unwrap();
    dir
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} in {value}"))
}

#[track_caller]
fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} {b}");
}

#[test]
fn perplexity_of_one_window_is_what_score_gives() {
    let folder = tempfile::tempdir().unwrap();
    let dir = model(folder.path(), "m", Some(ContextConfig::default()));
    let words = "The baker opened the oven, é and all.";
    let file = folder.path().join("a.txt");
    fs::write(&file, words).unwrap();
    let found = json_of(&["eval", "perplexity", "--model", text(&dir), "--text", text(&file)]);
    let scored = json_of(&["score", "--model", text(&dir), "--text", words]);
    let (nll, tokens) = (number(&scored, "nll"), scored["tokens"].as_array().unwrap().len() - 1);
    close(number(&found, "nll"), nll);
    assert_eq!((&found["tokens"], &found["window"], &found["stride"]), (&json!(tokens), &json!(96), &json!(96)));
    close(number(&found, "perplexity"), (nll / tokens as f64).exp());
    close(number(&found, "bits_per_byte"), nll / (2.0_f64.ln() * words.len() as f64));
    close(number(&found, "word_perplexity"), (nll / 8.0).exp());
}

#[test]
fn weights_of_8_bits_tell_what_they_cost() {
    let folder = tempfile::tempdir().unwrap();
    let dir = with_tokenizer(folder.path());
    let file = folder.path().join("a.txt");
    fs::write(&file, "one two three four five six seven eight ".repeat(20)).unwrap();
    let args = ["eval", "perplexity", "--model", text(&dir), "--text", text(&file)];
    let (plain, found) = (json_of(&args), json_of(&[&args[..], &["--quantize", "int8"]].concat()));
    assert!(plain["quantize"].is_null() && plain["unquantized"].is_null());
    assert_eq!(found["unquantized"]["perplexity"], plain["perplexity"]);
    let difference = number(&found, "perplexity") - number(&plain, "perplexity");
    assert_eq!(number(&found, "perplexity_difference"), difference);
    assert!(difference != 0.0 && difference.abs() < 0.05 * number(&plain, "perplexity"), "{difference}");
    let generate = ["generate", "--model", text(&dir), "--prompt", "one two", "--quantize", "int8"];
    let generated = json_of(&generate);
    assert_eq!(generated["quantize"], "int8");
    assert!(!generated["tokens"].as_array().unwrap().is_empty());
    let message = fails(&[&generate[..], &["--dtype", "bf16"]].concat(), 1);
    assert!(message.contains("--dtype bf16"), "{message}");
}

#[test]
fn perplexity_of_shards_and_documents() {
    let folder = tempfile::tempdir().unwrap();
    let dir = model(folder.path(), "m", None);
    let out = folder.path().join("out");
    let pages = data().join("wikitext.jsonl");
    let prepared = json_of(&[
        "prepare",
        "--tokenizer",
        text(&dir),
        "--out",
        text(&out),
        "--key",
        "page",
        "--valid-fraction",
        "0",
        text(&pages),
    ]);
    let shards = out.join("train");
    let run = |more: &[&str]| json_of(&[&["eval", "perplexity", "--model", text(&dir)], more].concat());
    let stream = run(&["--shards", text(&shards), "--window", "64"]);
    assert_eq!(number(&stream, "tokens"), number(&prepared, "tokens") - 1.0);
    assert_eq!((&stream["bytes"], &stream["word_perplexity"]), (&prepared["bytes"], &Value::Null));
    let strided = run(&["--shards", text(&shards), "--window", "64", "--stride", "32", "--batch-tokens", "100"]);
    assert_eq!(strided["tokens"], stream["tokens"]);
    assert_ne!(strided["nll"], stream["nll"]);
    let documents = run(&["--shards", text(&shards), "--documents"]);
    assert_eq!(
        (number(&documents, "tokens"), &documents["documents"]),
        (number(&prepared, "tokens") - 10.0, &json!(10))
    );
    // The same documents as text, without the end of text before each.
    let texts = run(&["--text", text(&pages), "--key", "page", "--documents"]);
    assert_eq!(number(&texts, "tokens"), number(&documents, "tokens") - 10.0);
    assert_eq!(texts["bytes"], documents["bytes"]);

    let args = ["eval", "perplexity", "--model", text(&dir)];
    assert!(fails(&args, 2).contains("--text"));
    let error = fails(&[&args[..], &["--text", text(&pages), "--key", "none"]].concat(), 1);
    assert!(error.contains("wikitext.jsonl, line 1: no key \"none\""), "{error}");
    let error = fails(&[&args[..], &["--text", text(&pages), "--key", "page", "--window", "97"]].concat(), 1);
    assert!(error.contains("window = 97: must be from 1 to the model's 96"), "{error}");
}

#[test]
fn every_task_has_results_in_the_harness_schema() {
    let folder = tempfile::tempdir().unwrap();
    let dir = model(folder.path(), "m", Some(ContextConfig::default()));
    let data = data();
    let args =
        ["eval", "tasks", "--model", text(&dir), "--tasks", TASKS, "--data", text(&data), "--bootstrap-iters", "100"];
    let found = json_of(&args);
    for task in TASKS.split(',') {
        let results = &found["results"][task];
        let metric = match task {
            "lambada_openai" => "perplexity",
            "wikitext" => "bits_per_byte",
            _ => "acc",
        };
        assert!(
            results[format!("{metric},none")].is_f64() && results[format!("{metric}_stderr,none")].is_f64(),
            "{task}"
        );
        assert_eq!((&results["alias"], &results["sample_len"]), (&json!(task), &json!(10)));
        assert_eq!(found["n-samples"][task], json!({ "original": 10, "effective": 10 }));
        assert_eq!((&found["n-shot"][task], &found["configs"][task]["task"]), (&json!(0), &json!(task)));
        assert_eq!(found["higher_is_better"][task][metric], json!(metric == "acc"));
    }
    assert_eq!(found["versions"]["boolq"], json!(2.0));
    assert_eq!(found["group_subtasks"]["blimp"].as_array().unwrap().len(), 4);
    let parts = ["agreement", "determiners", "questions", "polarity"];
    let mean: f64 = parts.iter().map(|part| number(&found["results"][format!("blimp_{part}")], "acc,none")).sum();
    close(number(&found["groups"]["blimp"], "acc,none"), mean / 4.0);
    // One passage and one question of the ferry are longer than the window.
    assert_eq!((&found["truncated"]["lambada_openai"], &found["truncated"]["piqa"]), (&json!(1), &json!(0)));
    // Log-likelihoods are the same for any batch.
    let small = json_of(&[&args[..], &["--batch-tokens", "1"]].concat());
    for task in TASKS.split(',') {
        for (key, value) in found["results"][task].as_object().unwrap() {
            match value.as_f64() {
                Some(value) => close(number(&small["results"][task], key), value),
                None => assert_eq!(&small["results"][task][key], value),
            }
        }
    }

    let table = String::from_utf8(contextlm(&args).stdout).unwrap();
    assert!(table.contains("| acc_norm ↑") && table.contains("lambada_openai: 1 inputs were longer"), "{table}");
    let help = String::from_utf8(contextlm(&["eval", "tasks", "--help"]).stdout).unwrap();
    assert!(help.contains("hellaswag") && help.contains("everyday scene"), "{help}");
}

#[test]
fn a_killed_run_goes_on_from_what_it_has_scored() {
    let folder = tempfile::tempdir().unwrap();
    let dir = model(folder.path(), "m", None);
    let (data, out) = (data(), folder.path().join("out"));
    let args = [
        "eval",
        "tasks",
        "--model",
        text(&dir),
        "--tasks",
        "hellaswag,wikitext",
        "--data",
        text(&data),
        "--out",
        text(&out),
    ];
    let first = json_of(&args);
    let inside = fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    let (results, cache) = (inside.join("results.json"), inside.join("cache.jsonl"));
    assert_eq!(
        serde_json::from_str::<Value>(&fs::read_to_string(&results).unwrap()).unwrap()["results"],
        first["results"]
    );
    let samples = fs::read_to_string(inside.join("samples_hellaswag.jsonl")).unwrap();
    assert_eq!(samples.lines().count(), 10);

    // Killed in the middle of a line.
    let lines = fs::read_to_string(&cache).unwrap();
    let half = lines.len() / 2;
    fs::write(&cache, &lines[..half]).unwrap();
    fs::remove_file(&results).unwrap();
    assert_eq!(json_of(&args)["results"], first["results"]);
    assert_eq!(fs::read_to_string(&cache).unwrap().lines().count(), lines.lines().count());
    // What is in the cache is what counts: nothing of it is computed again.
    let key = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let forged: String = lines
        .lines()
        .map(|line| {
            let mut line = key(line);
            let count = line["log_likelihoods"].as_array().unwrap().len();
            line["log_likelihoods"] = json!(vec!["-1"; count]);
            format!("{line}\n")
        })
        .collect();
    fs::write(&cache, forged).unwrap();
    let forged = json_of(&args);
    assert_ne!(forged["results"]["wikitext"], first["results"]["wikitext"]);
    let samples = fs::read_to_string(inside.join("samples_hellaswag.jsonl")).unwrap();
    assert_eq!(key(samples.lines().next().unwrap())["resps"][2][0], json!(-1.0));
}

#[test]
fn models_are_compared_example_by_example() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (model(folder.path(), "one", None), model(folder.path(), "two", Some(ContextConfig::default())));
    let models = format!("{},{},{}", text(&one), text(&two), text(&one));
    let (data, out) = (data(), folder.path().join("out"));
    let args = ["eval", "tasks", "--model", &models, "--tasks", "lambada_openai,blimp,wikitext", "--data", text(&data)];
    let found = json_of(&[&args[..], &["--out", text(&out)]].concat());
    assert_eq!(found["models"].as_array().unwrap().len(), 3);
    let of = |model: usize, metric: &str| {
        let differences = found["comparison"]["models"][model]["differences"].as_array().unwrap().clone();
        differences.into_iter().find(|difference| difference["metric"] == metric).unwrap()
    };
    let log = |model: usize| number(&found["models"][model]["results"]["lambada_openai"], "perplexity,none").ln();
    close(number(&of(0, "perplexity"), "difference"), log(1) - log(0));
    let bits = |model: usize| number(&found["models"][model]["results"]["wikitext"], "bits_per_byte,none");
    close(number(&of(0, "bits_per_byte"), "difference"), bits(1) - bits(0));
    assert!(number(&of(0, "perplexity"), "stderr") > 0.0);
    // A model does not differ from itself.
    assert_eq!(number(&of(1, "perplexity"), "difference"), 0.0);
    assert_eq!((&of(1, "acc")["t"], &of(1, "acc")["verdict"]), (&Value::Null, &json!("no difference shown")));
    assert!(out.join("comparison.json").exists());
    let table = String::from_utf8(contextlm(&args).stdout).unwrap();
    assert!(table.contains("paired by example"), "{table}");
}

#[test]
fn what_is_wrong_with_a_task_or_its_data_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let dir = model(folder.path(), "m", None);
    let own = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let run = |task: &str, more: &[&str]| {
        let args = ["eval", "tasks", "--model", text(&dir), "--tasks", task, "--data", text(folder.path())];
        fails(&[&args[..], more].concat(), 1)
    };
    assert!(run("hellaswog", &[]).contains("no task hellaswog: name one of arc_challenge, "));
    let task = own(
        "t.toml",
        "name = \"t\"\nversion = 1\nabout = \"x\"\nfiles = [\"t.jsonl\"]\nshape = \"choices\"\nmetrics = [\"acc\"]\n",
    );
    assert!(run(text(&task), &[]).contains("no data of the task t; put t.jsonl there"));
    let broken = own("broken.toml", "name = \"t\"\nversion = one\n");
    assert!(run(text(&broken), &[]).contains("broken.toml, line 2: "));
    let good = r#"{"context": "a b", "choices": [" c", " d"], "gold": 1}"#;
    for (line, reason) in [
        ("{\"context\": ", "t.jsonl, line 2: not a JSON object"),
        (r#"{"context": "a", "choices": [], "gold": 0}"#, "t.jsonl, line 2: choices is empty"),
        (r#"{"context": "a", "choices": [" b", ""], "gold": 0}"#, "t.jsonl, line 2: choice 1 is empty"),
        (r#"{"context": "a", "choices": [" b"], "gold": 1}"#, "t.jsonl, line 2: gold = 1: must be from 0 to 0"),
        (
            &format!(r#"{{"context": "a", "choices": ["{}"], "gold": 0}}"#, " né".repeat(97)),
            "t.jsonl, line 2: choice 0 has ",
        ),
    ] {
        own("t.jsonl", &format!("{good}\n{line}\n"));
        let error = run(text(&task), &[]);
        assert!(error.contains(reason), "{error}");
    }
    let long = format!(r#"{{"context": "{}", "choices": [" b"], "gold": 0}}"#, "é a ".repeat(97));
    own("t.jsonl", &format!("{good}\n{long}\n"));
    let error = run(text(&task), &["--no-truncate"]);
    assert!(
        error.contains("t.jsonl, line 2: choice 0 and its context are too long") && error.contains("the window is 96"),
        "{error}"
    );
    assert!(run(text(&task), &["--shots", "2"]).contains("shots = 2: t has 1 to show"));
    let twice = format!("{0},{0}", text(&task));
    assert!(run(&twice, &[]).contains("there are two of the name t"));
    fs::remove_file(dir.join("tokenizer.json")).unwrap();
    assert!(run(text(&task), &[]).contains("tokenizer.json"));
}
