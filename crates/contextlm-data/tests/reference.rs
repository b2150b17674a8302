//! The published tokenizers, and pieces against whole texts, on the data in the folder that `CONTEXTLM_DATA` names.
#![allow(clippy::unwrap_used)]

use std::env;
use std::path::PathBuf;

use contextlm_data::{ReadOptions, Tokenizer, limit_bytes, read_documents};

fn data() -> Option<PathBuf> {
    let folder = env::var_os("CONTEXTLM_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: CONTEXTLM_DATA is not set");
    }
    folder
}

const SENTENCE: &str = "Hello, world! It's 2026.";

#[test]
fn gpt2_ids() {
    let Some(data) = data() else { return };
    let tokenizer = Tokenizer::from_file(data.join("tokenizers/gpt2/tokenizer.json")).unwrap();
    assert_eq!(tokenizer.encode(SENTENCE).unwrap(), [15496, 11, 995, 0, 632, 338, 1160, 2075, 13]);
    assert_eq!((tokenizer.vocab_size(), tokenizer.end_of_text().unwrap()), (50257, 50256));
    // As transformers with split_special_tokens=True.
    assert_eq!(tokenizer.encode("<|endoftext|>").unwrap(), [27, 91, 437, 1659, 5239, 91, 29]);
}

#[test]
fn pythia_ids() {
    let Some(data) = data() else { return };
    let tokenizer = Tokenizer::from_file(data.join("tokenizers/pythia/tokenizer.json")).unwrap();
    assert_eq!(tokenizer.encode(SENTENCE).unwrap(), [12092, 13, 1533, 2, 733, 434, 1384, 1731, 15]);
    assert_eq!((tokenizer.vocab_size(), tokenizer.end_of_text().unwrap()), (50277, 0));
    let spaces = tokenizer.encode("a        b").unwrap();
    assert_eq!(tokenizer.decode(&spaces).unwrap(), "a        b");
    assert!(spaces.len() <= 4, "runs of spaces are tokens of their own: {spaces:?}");
}

/// Long texts are encoded in pieces; the library alone encodes them whole.
#[test]
fn pieces_give_the_ids_of_the_whole() {
    let Some(data) = data() else { return };
    let books = read_documents(&[data.join("books/valid.jsonl.zst")], &ReadOptions::default()).unwrap();
    let texts: Vec<String> = limit_bytes(books, 1 << 20).map(|book| book.unwrap().text).collect();
    let code = include_str!("../src/documents.rs").repeat(10);
    for name in ["gpt2", "pythia"] {
        let path = data.join(format!("tokenizers/{name}/tokenizer.json"));
        let ours = Tokenizer::from_file(&path).unwrap();
        let whole = tokenizers::Tokenizer::from_file(&path).unwrap();
        for text in texts.iter().chain([&code]) {
            assert_eq!(ours.encode(text).unwrap(), whole.encode_fast(text.as_str(), false).unwrap().get_ids());
        }
    }
}

proptest::proptest! {
    /// What the published tokenizers encode they decode to the same text, whatever it is.
    #[test]
    fn any_text_comes_back(text in "\\PC*|[a-z <|>\\u{0}-\\u{20}\\u{e000}-\\u{10ffff}]{0,60}") {
        // The data are read once a thread.
        thread_local! {
            static TOKENIZERS: Vec<Tokenizer> = data().map_or(Vec::new(), |data| {
                let files = ["gpt2", "pythia"].map(|name| data.join(format!("tokenizers/{name}/tokenizer.json")));
                files.map(|file| Tokenizer::from_file(file).unwrap()).into()
            });
        }
        TOKENIZERS.with(|tokenizers| {
            for tokenizer in tokenizers {
                let ids = tokenizer.encode(&text).unwrap();
                // Pythia's normalises to NFC.
                let back = tokenizer.decode(&ids).unwrap();
                assert_eq!(tokenizer.encode(&back).unwrap(), ids);
                if tokenizer.vocab_size() == 50257 {
                    assert_eq!(back, text);
                }
            }
        });
    }
}
