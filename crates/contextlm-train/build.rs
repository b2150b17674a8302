//! Tells the crate which compiler and commit it is built from, for the record of runs.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    println!("cargo::rustc-env=CONTEXTLM_RUSTC={}", output(&compiler, &["--version"]).unwrap_or_default());
    println!("cargo::rustc-env=CONTEXTLM_COMMIT={}", packaged().or_else(cloned).unwrap_or_default());
}

/// The commit of a published package, which cargo has written into it.
fn packaged() -> Option<String> {
    let info = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let hash = info.split('"').find(|part| part.len() == 40 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    Some(hash.into())
}

/// The commit of a clone, and whether the sources of this crate and those below it are others. It is asked for again when those
/// sources change, and not after every commit, which would compile this crate anew for nothing.
fn cloned() -> Option<String> {
    // A clone of another project may hold this one as a copy.
    if output("git", &["ls-files", "build.rs"])?.is_empty() {
        return None;
    }
    let mut sources = Vec::new();
    for name in ["kernels", "nn", "backbone", "embedding", "predictor", "decoder", "core", "weights", "data", "train"] {
        let source = format!("../contextlm-{name}/src");
        if Path::new(&source).exists() {
            println!("cargo::rerun-if-changed={source}");
            sources.push(source);
        }
    }
    let hash = output("git", &["rev-parse", "HEAD"])?;
    let mut status = vec!["status", "--porcelain", "--"];
    status.extend(sources.iter().map(String::as_str));
    let changes = output("git", &status)?;
    Some(hash + if changes.is_empty() { "" } else { "+changes" })
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().into())
}
