//! Backbones compute what PyTorch computes: logits, loss and every gradient of the checkpoints that
//! `tools/write_fixtures.py` wrote with transformers 4 and 5.
#![allow(clippy::unwrap_used)]

mod common;

use common::parity::check;

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
fn llama_with_grouped_queries_and_a_tied_head() {
    check("llama");
}

#[test]
fn llama_with_scaled_rotary_positions() {
    check("llama_scaled");
    check("llama_scaled_fast");
}

#[test]
fn llama_with_biases_and_a_head_size_of_its_own() {
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

/// The dialect of config.json that transformers 5 writes.
#[test]
fn written_by_transformers_5() {
    for name in ["v5_gpt2", "v5_neox", "v5_llama", "v5_mistral", "v5_qwen2"] {
        check(name);
    }
}
