//! Tests that cross the crates of ContextLM.
