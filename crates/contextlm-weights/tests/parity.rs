//! Every family computes what PyTorch computes: logits, loss and every gradient of the checkpoints that
//! `tools/write_fixtures.py` wrote with transformers 4 and 5, at the longest length of each.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use burn::module::{ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
use common::{Values, cpu, fixture, laid_out, read_file};
use contextlm_core::{IGNORE_INDEX, Int, Module, ModulePath};

/// L2 norm.
fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

fn difference(left: &[f32], right: &[f32]) -> Vec<f32> {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| left - right).collect()
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| value.abs().max(largest))
}

/// Gradients by path.
struct Collect<'a>(ModulePath, &'a Gradients, BTreeMap<String, Values>);

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const R: usize>(&mut self, param: &Param<Tensor<R>>) {
        let gradient = param.val().grad(self.1).unwrap();
        self.2.insert(self.0.path(), (gradient.dims().to_vec(), gradient.into_data().try_to_vec().unwrap()));
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.0.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.0.exit();
    }
}

fn check(name: &str) {
    let device = cpu().autodiff();
    let model = contextlm_weights::load(fixture(name), &device).unwrap().model;
    let expected = read_file(&fixture(name).join("expected.safetensors"));

    let (shape, tokens) = &expected["tokens"];
    let ids = |values: Vec<i64>| Tensor::<2, Int>::from_data(TensorData::new(values, [shape[0], shape[1]]), &device);
    let row = |row: &[f32]| row.iter().map(|&token| token as i64).collect::<Vec<_>>();
    let shifted = |tokens: &[f32]| [&row(&tokens[1..])[..], &[IGNORE_INDEX]].concat();
    let targets = ids(tokens.chunks(shape[1]).flat_map(shifted).collect());
    let tokens = ids(row(tokens));

    let logits: Vec<f32> = model.forward(tokens.clone()).into_data().try_to_vec().unwrap();
    let wanted = &expected["logits"].1;
    let off = largest(&difference(&logits, wanted));
    assert!(off <= 1e-4 * largest(wanted).max(1.0), "{name}: a logit is off by {off}");

    let loss = model.loss(tokens, targets);
    let (value, wanted) = (loss.clone().into_scalar::<f32>(), expected["loss"].1[0]);
    assert!((value - wanted).abs() <= 1e-5 * wanted, "{name}: loss {value} instead of {wanted}");

    let gradients = loss.backward();
    let mut found = Collect(ModulePath::default(), &gradients, BTreeMap::new());
    model.visit(&mut found);
    let total = norm(&found.2.values().flat_map(|(_, values)| values.iter().copied()).collect::<Vec<_>>());
    let tensors = model.tensors();
    let mut worst: f64 = 0.0;
    for tensor in &tensors {
        let ours = laid_out(&found.2[&tensor.path], tensor.name.layout);
        // The head of a GPT-NeoX is `lm_head` in transformers 5, and `embed_out` in its files.
        let mut names = std::iter::once(&tensor.name.name).chain(&tensor.name.aliases);
        let theirs = names.find_map(|name| expected.get(&format!("grad.{name}"))).unwrap();
        assert_eq!(ours.0, theirs.0, "{name}: {}", tensor.path);
        let error = norm(&difference(&ours.1, &theirs.1)) / norm(&theirs.1).max(1e-4 * total);
        assert!(error <= 1e-3, "{name}: the gradient of {} is off by {error}", tensor.path);
        worst = worst.max(error);
    }
    assert_eq!(tensors.len(), expected.keys().filter(|key| key.starts_with("grad.")).count());
    println!("{name}: logits {off:.1e}, loss {:.1e}, worst gradient {worst:.1e}", (value - wanted).abs() / wanted);
}

#[test]
fn gpt2() {
    check("gpt2");
}

#[test]
fn gpt2_with_an_odd_head_size_its_own_inner_width_and_the_exact_gelu() {
    check("gpt2_odd_head");
}

#[test]
fn neox() {
    check("neox");
}

#[test]
fn neox_with_serial_residual_and_full_rotary_positions() {
    check("neox_serial");
}

#[test]
fn neox_with_a_tied_head_and_without_biases_in_attention() {
    check("neox_tied");
}

#[test]
fn llama_with_one_key_value_head_of_four_and_a_tied_head() {
    check("llama");
}

#[test]
fn llama_with_an_untied_head_and_scaled_frequencies() {
    check("llama_scaled");
}

#[test]
fn llama_with_all_biases_and_heads_that_are_not_the_width() {
    check("llama_biased");
}

#[test]
fn mistral() {
    check("mistral");
}

#[test]
fn qwen2() {
    check("qwen2");
}

#[test]
fn gpt2_of_transformers_5() {
    check("v5_gpt2");
}

#[test]
fn neox_of_transformers_5() {
    check("v5_neox");
}

#[test]
fn llama_of_transformers_5_with_scaled_frequencies() {
    check("v5_llama");
}

#[test]
fn mistral_of_transformers_5() {
    check("v5_mistral");
}

#[test]
fn qwen2_of_transformers_5() {
    check("v5_qwen2");
}
