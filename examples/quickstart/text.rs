//! The text to train on, and its tokens.

use std::error::Error;
use std::path::{Path, PathBuf};

use contextlm_data::{
    Corpus, DataError, Document, Held, ReadOptions, Tokenizer, default_cargo_home, find_files, limit_bytes,
    rust_sources, train_documents, valid_documents,
};

use crate::LENGTH;

/// Text that the tokenizer learns from, that the models learn from, and that they are compared on; bytes.
const TOKENIZER_BYTES: u64 = 4_000_000;
const TRAIN_BYTES: u64 = 16_000_000;
const VALID_BYTES: u64 = 80_000;

/// What is read of a Rust file, so that no generated table of a megabyte stands for all of Rust.
const HEAD_BYTES: usize = 8_000;

/// Longer texts of `--text` become several documents, so that one book can be learned from and held out.
const PART_BYTES: usize = 2_000;

/// Share of the documents that is held out.
const HELD_OUT: f64 = 0.05;

pub struct Text {
    pub tokenizer: Tokenizer,
    pub train: Corpus,
    pub valid: Corpus,
}

impl Text {
    /// Reads `paths`, or the Rust sources that were fetched to build this program.
    pub fn read(paths: &[PathBuf], vocabulary: usize, out: &Path) -> Result<Self, Box<dyn Error>> {
        let (paths, part_bytes, head_bytes) = if paths.is_empty() {
            (sources()?, None, HEAD_BYTES)
        } else {
            println!("text: {} files", find_files(paths)?.len());
            (paths.to_vec(), Some(PART_BYTES), usize::MAX)
        };
        let options = ReadOptions { part_bytes, ..ReadOptions::default() };
        let held = Held::Fraction(HELD_OUT);
        let head = |document| head(document, head_bytes);
        let training = || train_documents(&paths, &held, &options).map(|all| all.map(head));

        eprintln!("training a tokenizer of {vocabulary} tokens");
        let tokenizer = Tokenizer::train(limit_bytes(training()?, TOKENIZER_BYTES), vocabulary)?;
        tokenizer.save(out.join("tokenizer.json"))?;

        eprintln!("encoding");
        let train = Corpus::encode(limit_bytes(training()?, TRAIN_BYTES), &tokenizer, |_| ())?;
        let held_out = limit_bytes(valid_documents(&paths, &held, &options)?.map(head), VALID_BYTES);
        let valid = Corpus::encode(held_out, &tokenizer, |_| ())?;
        for (side, corpus) in [("train on", &train), ("validate with", &valid)] {
            if corpus.tokens.len() < LENGTH {
                return Err(format!("--text: too little to {side}; 100 kB are enough").into());
            }
        }
        println!(
            "train: {} documents, {} tokens; valid: {} documents, {} tokens, {} bytes",
            train.counts.documents,
            train.counts.tokens,
            valid.counts.documents,
            valid.counts.tokens,
            valid.counts.bytes
        );
        Ok(Self { tokenizer, train, valid })
    }
}

/// The beginning of a document.
fn head(document: Result<Document, DataError>, bytes: usize) -> Result<Document, DataError> {
    document.map(|mut document| {
        document.text.truncate(document.text.floor_char_boundary(bytes));
        document
    })
}

/// The Rust sources of the packages in Cargo.lock.
fn sources() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let home = default_cargo_home().ok_or("no home folder: set CARGO_HOME, or give --text PATH...")?;
    let files = rust_sources(&lock, &home)?;
    println!(
        "text: {} Rust files of the packages that Cargo.lock names, from {}",
        files.len(),
        home.join("registry/src").display()
    );
    Ok(files)
}
