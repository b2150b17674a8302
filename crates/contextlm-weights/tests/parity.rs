//! GPT-2 and GPT-NeoX compute what PyTorch computes: logits, loss and every gradient of the checkpoints that
//! `tools/write_fixtures.py` wrote with transformers.
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
