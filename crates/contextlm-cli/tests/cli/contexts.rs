//! `contextlm eval context` and `contextlm eval length`.

use std::fs;
use std::path::{Path, PathBuf};

use contextlm_core::{BackboneConfig, ContextConfig, ContextLmConfig, Gpt2Config, GptNeoXConfig, Source};
use serde_json::{Value, json};

use super::{contextlm, fails, json_of, text};

fn rotary() -> BackboneConfig {
    BackboneConfig::GptNeoX(GptNeoXConfig {
        vocab_size: 710,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 32,
        max_position_embeddings: 32,
        initializer_range: 0.3,
        ..GptNeoXConfig::default()
    })
}

/// A small random model with the tokenizer of the tasks.
fn model(folder: &Path, name: &str, backbone: BackboneConfig, context: Option<ContextConfig>) -> PathBuf {
    let config = ContextLmConfig { context, ..ContextLmConfig::new(backbone) };
    let model = config.init(&contextlm_device::device("cpu").unwrap()).unwrap();
    let dir = folder.join(name);
    contextlm_weights::save(&model, &config, &dir, &contextlm_weights::SaveOptions::default()).unwrap();
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tasks/tokenizer.json");
    fs::copy(tokenizer, dir.join("tokenizer.json")).unwrap();
    dir
}

/// Ten documents of some words.
fn documents(folder: &Path) -> PathBuf {
    let path = folder.join("texts.jsonl");
    let words =
        |i: usize| (0..80).map(|j| ["the baker ", "opened ", "an oven, ", "é "][(i + j * j) % 4]).collect::<String>();
    let lines = (0..10).map(|i| format!("{}\n", json!({ "text": words(i) })));
    fs::write(&path, lines.collect::<String>()).unwrap();
    path
}

#[test]
fn context_gives_numbers_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = documents(folder.path());
    let dir = model(folder.path(), "model", rotary(), Some(ContextConfig::default()));
    let constant = ContextConfig { source: Source::Constant, ..ContextConfig::default() };
    let control = model(folder.path(), "control", rotary(), Some(constant));
    let page = folder.path().join("report.html");
    let args = ["eval", "context", "--model", text(&dir), "--text", text(&path)];
    let more = ["--control", text(&control), "--report", text(&page), "--documents", "--probe-samples", "60"];
    let found = json_of(&[&args[..], &more].concat());
    assert_eq!((&found["window"], &found["chunk_size"], &found["texts"]), (&json!(32), &json!(4), &json!(10)));
    assert_eq!(
        (&found["errors_over"], &found["note"]),
        (&json!("documents"), &json!("a swap shows reliance, not gain"))
    );
    assert_eq!(found["other"], "another text's", "documents are different texts");
    let by: Vec<&Value> = found["replaced"].as_array().unwrap().iter().map(|replaced| &replaced["by"]).collect();
    assert_eq!(by, ["initial", "mean", "other_text", "shifted"]);
    for number in [
        &found["loss"]["standard_error"],
        &found["guided_loss"]["places"][3]["mean"],
        &found["control"]["difference"]["later"]["mean"],
        &found["similarity"]["centred"]["difference"]["standard_error"],
        &found["probe"]["places"][0]["added_by_context"]["mean"],
        &found["attention"]["predictor"][1]["on_itself"],
        &found["attention"]["decoder"][0]["on_first"],
    ] {
        assert!(number.as_f64().is_some_and(f64::is_finite), "{found}");
    }
    let written = fs::read_to_string(&page).unwrap();
    assert!(written.contains("A swap shows reliance, not gain") && written.ends_with("</html>\n"));
    let shown =
        String::from_utf8(contextlm(&[&args[..], &["--window", "16", "--limit", "64"]].concat()).stdout).unwrap();
    assert!(shown.contains("4 windows of 16 tokens") && shown.contains("a distant window's"), "{shown}");

    let nowhere = folder.path().join("none/report.html");
    assert!(fails(&[&args[..], &["--report", text(&nowhere)]].concat(), 1).contains("there is no folder"));
    assert!(fails(&[&args[..], &["--window", "33"]].concat(), 1).contains("the model has 32 positions"));
    assert!(fails(&[&args[..], &["--control", text(&dir)]].concat(), 1).contains("source = constant"));
    let plain = model(folder.path(), "plain", rotary(), None);
    let error = fails(&["eval", "context", "--model", text(&plain), "--text", text(&path)], 1);
    assert!(error.contains("the model is a plain backbone"), "{error}");
}

#[test]
fn length_goes_beyond_rotary_positions_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = documents(folder.path());
    let dir = model(folder.path(), "model", rotary(), Some(ContextConfig::default()));
    let plot = folder.path().join("length.svg");
    let args = ["eval", "length", "--model", text(&dir), "--text", text(&path), "--lengths"];
    let found = json_of(&[&args[..], &["16,100,32", "--plot", text(&plot)]].concat());
    let lengths: Vec<&Value> = found["lengths"].as_array().unwrap().iter().map(|at| &at["length"]).collect();
    assert_eq!(lengths, [16, 32, 100]);
    assert_eq!((&found["trained"], &found["lengths"][2]["beyond"]), (&json!(32), &json!(true)));
    assert!(found["lengths"][2]["perplexity"].as_f64().unwrap() > 1.0);
    assert!(fs::read_to_string(&plot).unwrap().contains("windows of 100"));

    // The same tokens as `eval perplexity` has them, where the windows are all of the text but its end.
    let whole = json_of(&["eval", "perplexity", "--model", text(&dir), "--text", text(&path), "--window", "32"]);
    let tokens = whole["tokens"].as_u64().unwrap() / 32 * 32;
    let found = json_of(&[&args[..], &["32"]].concat());
    assert_eq!(found["tokens"].as_u64(), Some(tokens));

    let gpt2 =
        Gpt2Config { vocab_size: 710, n_positions: 32, n_embd: 16, n_layer: 1, n_head: 2, ..Gpt2Config::default() };
    let learned = model(folder.path(), "learned", BackboneConfig::Gpt2(gpt2), None);
    let error = fails(&["eval", "length", "--model", text(&learned), "--text", text(&path), "--lengths", "16,64"], 1);
    assert!(error.contains("lengths = 64: positions are learned and there are 32"), "{error}");
    assert!(fails(&[&args[..], &["16,x"]].concat(), 2).contains("--lengths"));
    assert!(fails(&[&args[..], &["1000000"]].concat(), 1).contains("window = 1000000"));
}
