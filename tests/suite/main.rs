//! Tests that cross crates, in one program.
#![allow(clippy::unwrap_used)]

mod adamw;
mod backends;
mod causality;
mod config;
mod counts;
mod custom;
mod determinism;
mod documents;
mod gradients;
mod latent;
mod plain;
mod position_rule;
mod rows;
mod sizes;
