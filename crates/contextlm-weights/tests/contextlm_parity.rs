//! A ContextLM computes what the PyTorch reference computes, which was written from the model's definition and not from
//! this code: logits, loss and every gradient of the models that `tools/write_contextlm_fixtures.py` wrote.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::fixture;
use common::parity::check;

/// Checks the `count` fixtures of a family.
fn check_all(family: &str, count: usize) {
    let names =
        fs::read_dir(fixture("contextlm")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<_> = names.filter(|name| name.starts_with(family)).collect();
    assert_eq!(names.len(), count, "{names:?}");
    names.iter().for_each(|name| check(&format!("contextlm/{name}")));
}

#[test]
fn gpt2() {
    check_all("gpt2_", 10);
}

#[test]
fn neox() {
    check_all("neox_", 11);
}

#[test]
fn llama_family() {
    check_all("llama_", 4);
    check_all("mistral_", 1);
    check_all("qwen2_", 1);
}
