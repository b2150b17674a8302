//! Replays what the fuzz targets have found interesting.
#![allow(clippy::unwrap_used)]

#[path = "../fuzz/cases.rs"]
mod cases;

use std::fs;
use std::path::Path;

use cases::{CASES, Cases};

/// How many of a corpus are accepted, and how many there are.
fn replay(name: &str, case: fn(&Cases, &[u8]) -> bool) -> (usize, usize) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let inputs: Vec<Vec<u8>> =
        fs::read_dir(corpus).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    let accepted = inputs.iter().filter(|bytes| CASES.with(|cases| case(cases, bytes))).count();
    (accepted, inputs.len())
}

#[test]
fn every_input_is_read_or_refused() {
    for (name, case) in
        [("config", Cases::config as fn(&Cases, &[u8]) -> bool), ("index", Cases::index), ("loader", Cases::loader)]
    {
        let (accepted, all) = replay(name, case);
        // Each corpus starts from a whole file, and from broken ones.
        assert!(accepted > 0 && accepted < all, "{name}: {accepted} of {all} accepted");
    }
}
