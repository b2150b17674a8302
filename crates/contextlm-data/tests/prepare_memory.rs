//! The memory of `prepare` does not grow with the corpus. Its own process, since the peak is that of the process.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use contextlm_data::{Document, PrepareOptions, Tokenizer, prepare};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const FILES: usize = 6;

/// Compressed files of together so many MiB of text.
fn corpus(folder: &Path, mebibytes: usize) -> PathBuf {
    let dir = folder.join(format!("{mebibytes}"));
    fs::create_dir(&dir).unwrap();
    for file in 0..FILES {
        let line = |n: usize| {
            let text = format!("document {} of file {file} about tokens and chunks. ", n % 500).repeat(20);
            format!("{{\"text\": \"{text}\"}}\n")
        };
        let lines: String = (0..(mebibytes << 20) / FILES / 940).map(line).collect();
        fs::write(dir.join(format!("{file}.jsonl.zst")), zstd::encode_all(lines.as_bytes(), 1).unwrap()).unwrap();
    }
    dir
}

#[test]
fn the_peak_does_not_grow_with_the_corpus() {
    let folder = tempfile::tempdir().unwrap();
    let text = "a document about documents, about chunks and about tokens. ".repeat(20);
    let tokenizer = Tokenizer::train([Ok(Document::new(text))], 300).unwrap();
    let peak = |mebibytes: usize| {
        let input = corpus(folder.path(), mebibytes);
        let out = folder.path().join(format!("out-{mebibytes}"));
        HEAP.reset_peak_usage();
        let before = HEAP.current_usage();
        let done = prepare(&[input], &tokenizer, &out, &PrepareOptions::default(), |_| true).unwrap();
        assert!(done.train.bytes as usize > (mebibytes << 20) * 9 / 10);
        HEAP.peak_usage() - before
    };
    peak(2); // threads and tables that stay
    let (small, large) = (peak(24), peak(60));
    println!("MiB: {} of 24, {} of 60", small >> 20, large >> 20);
    assert!(large < small + (6 << 20), "{small} -> {large} bytes");
}
