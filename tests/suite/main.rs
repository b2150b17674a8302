//! Tests that cross crates, in one program.
#![allow(clippy::unwrap_used)]

mod adamw;
mod attention_weights;
mod backends;
mod causality;
mod choices;
mod config;
mod contexts;
mod contexts_matter;
mod counts;
mod custom;
mod determinism;
mod documents;
mod fused_attention;
mod fused_operations;
mod generation;
mod gpu;
mod gradients;
mod init;
mod int8;
mod latent;
mod lengths;
mod lists;
mod plain;
mod position_rule;
mod precision;
mod products;
mod resume;
mod retrofit;
mod rotary;
mod rows;
mod sizes;
