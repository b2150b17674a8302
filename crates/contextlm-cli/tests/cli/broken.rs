//! Model directories with something wrong in them.

use std::fs;

use crate::{contextlm, fails, fixture, text, with_tokenizer};

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
