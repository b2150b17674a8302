//! Headers of safetensors files.

use std::collections::BTreeMap;
use std::fs;

use contextlm_weights::load;

use crate::common::{cpu, directory, fixture, tensors_of};
use crate::{error, refused};

/// A directory whose model.safetensors has these bytes.
fn with_bytes(bytes: &[u8]) -> tempfile::TempDir {
    let dir = directory("gpt2", &BTreeMap::new());
    fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
    dir
}

/// The bytes of a file with this header and this much data.
fn file(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}

#[track_caller]
fn file_refused(bytes: &[u8], parts: &[&str]) {
    refused(with_bytes(bytes).path(), "model.safetensors", parts);
}

#[test]
fn lengths_that_the_file_does_not_have() {
    file_refused(&[], &["too short"]);
    file_refused(&[0; 7], &["too short"]);
    file_refused(&u64::MAX.to_le_bytes(), &["header of 18446744073709551615 bytes", "file of 8"]);
    file_refused(&[&1000_u64.to_le_bytes()[..], b"{}"].concat(), &["header of 1000 bytes", "file of 10"]);
    let whole = fs::read(fixture("gpt2").join("model.safetensors")).unwrap();
    file_refused(&whole[..whole.len() - 1], &["truncated"]);
    file_refused(&[&whole[..], &[0]].concat(), &["truncated"]);
    for length in [8, 9, 100, 1000, whole.len() / 2] {
        file_refused(&whole[..length], &[]);
    }
}

#[test]
fn a_header_beyond_the_formats_limit() {
    let dir = with_bytes(&100_000_001_u64.to_le_bytes());
    let path = dir.path().join("model.safetensors");
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(200_000_000).unwrap(); // takes no space on disk
    refused(dir.path(), "model.safetensors", &["header of 100000001 bytes", "at most 100000000"]);
}

#[test]
fn headers_that_are_not_what_they_should_be() {
    file_refused(&file("", 0), &["header"]);
    file_refused(&file("[]", 0), &["header", "expected an object"]);
    file_refused(&file(r#"{"a": 1}"#, 0), &["header"]);
    file_refused(&file(r#"{"a":{"dtype":"F32","shape":[1]}}"#, 4), &["data_offsets"]);
    file_refused(&file(r#"{"a":{"dtype":"F3","shape":[1],"data_offsets":[0,4]}}"#, 4), &["F3"]);
    file_refused(&file(r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4), &["-1"]);
    file_refused(&file(r#"{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#, 4), &["1.5"]);
    file_refused(&file(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"b":0}}"#, 4), &["unknown field"]);
    let twice = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    file_refused(&file(twice, 8), &["a comes twice"]);
    let not_utf8 = [&5_u64.to_le_bytes()[..], b"{\"\xff\":"].concat();
    file_refused(&not_utf8, &["header"]);
    file_refused(&file(&"[".repeat(100_000), 0), &["header"]);
    file_refused(&file(&format!("{{\"__metadata__\":{}", "[".repeat(100_000)), 0), &["EOF"]);
    let deep = format!(r#"{{"a":{{"dtype":"F32","shape":[{}1],"data_offsets":[0,4]}}}}"#, "1,".repeat(100_000));
    file_refused(&file(&deep, 4), &["more than 8 dimensions"]);
}

#[test]
fn offsets_and_shapes_that_do_not_fit() {
    let one = |shape: &str, from: u64, to: u64| {
        format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}}}"#)
    };
    file_refused(&file(&one("[2]", 0, 8), 4), &["promises 8 bytes", "holds 4"]);
    file_refused(&file(&one("[1]", 4, 8), 8), &["data_offsets [4, 8]"]);
    file_refused(&file(&one("[1]", 4, 0), 4), &["data_offsets [4, 0]"]);
    file_refused(&file(&one("[1]", 0, u64::MAX), 4), &["holds 4"]);
    file_refused(&file(&one("[3]", 0, 4), 4), &["shape [3]", "4 bytes"]);
    file_refused(&file(&one("[4294967296, 4294967296]", 0, 4), 4), &["does not take 4 bytes"]);
    file_refused(&file(&one("[0, 18446744073709551615]", 0, 4), 4), &["does not take 4 bytes"]);
    let two = |a: &str, b: &str| {
        let entry = |offsets: &str| format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":{offsets}}}"#);
        file(&format!(r#"{{"a":{},"b":{}}}"#, entry(a), entry(b)), 8)
    };
    file_refused(&two("[0,4]", "[2,6]"), &["b: data_offsets [2, 6]"]);
    file_refused(&two("[0,4]", "[0,4]"), &["b: data_offsets [0, 4]"]);
    file_refused(&two("[0,4]", "[5,9]"), &["b: data_offsets [5, 9]"]);
}

#[test]
fn a_changed_byte_in_the_header_is_never_a_panic() {
    // Some still load: a space for a comma between entries of the metadata, say.
    let whole = fs::read(fixture("gpt2_odd_head").join("model.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let dir = directory("gpt2_odd_head", &BTreeMap::new());
    let mut failed = 0;
    for at in (0..header).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        failed += usize::from(load(dir.path(), &cpu()).is_err());
    }
    assert!(failed > header / 6, "{failed} of {}", header / 3);
}

/// A terminal would act on what a name spells.
#[test]
fn names_are_shown_as_they_are() {
    let evil = "a\u{1b}[31mevil\nname";
    let mut tensors = tensors_of("gpt2");
    tensors.insert(evil.into(), (vec![1], vec![0.0]));
    let whole = directory("gpt2", &tensors);
    let json = serde_json::Value::from(evil);
    let gap = format!(r#"{{{json}: {{"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}}}"#);
    let size = format!(r#"{{{json}: {{"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}}}"#);
    for dir in [whole, with_bytes(&file(&gap, 8)), with_bytes(&file(&size, 4))] {
        let error = error(dir.path()).to_string();
        assert!(error.contains("a\\u{1b}[31mevil\\nname") && !error.contains('\u{1b}'), "{error}");
    }
    let index = directory("gpt2", &tensors_of("gpt2"));
    fs::remove_file(index.path().join("model.safetensors")).unwrap();
    let map = serde_json::json!({ "weight_map": { evil: "../x" } });
    fs::write(index.path().join("model.safetensors.index.json"), map.to_string()).unwrap();
    let error = error(index.path()).to_string();
    assert!(error.contains("a\\u{1b}[31mevil\\nname") && !error.contains('\u{1b}'), "{error}");
}
