//! Broken and hostile files: each ends in an error that names the file and what is wrong with it.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod config;
mod files;
mod header;
mod index;

use std::path::Path;

use common::cpu;
use contextlm_weights::{WeightsError, load};

/// Why the directory cannot be loaded.
fn error(dir: &Path) -> WeightsError {
    load(dir, &cpu()).map(|loaded| loaded.config).expect_err("this must not load")
}

/// Asserts that the error is about a file and says all of the parts.
#[track_caller]
fn refused(dir: &Path, file: &str, parts: &[&str]) {
    let error = error(dir);
    let WeightsError::File { path, reason } = &error else { panic!("{error}") };
    assert_eq!(path, &dir.join(file), "{error}");
    for part in parts {
        assert!(reason.contains(part), "{part:?} should be in: {reason}");
    }
}
