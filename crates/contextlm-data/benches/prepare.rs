//! Tokens a second of [`prepare`] beside `tokenizers`' own `encode_batch`, in turn, on the same documents and threads.
//!
//! ```sh
//! cargo bench -p contextlm-data --bench prepare -- TOKENIZER.json INPUT...
//! ```
//!
//! `prepare` reads, decompresses, parses, encodes, writes and hashes; the peer gets texts that are in memory already, and
//! its ids are thrown away. The last line is one JSON object: medians of all rounds, and their ratio.
#![allow(clippy::unwrap_used)] // a program for developers

use std::env;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use contextlm_data::{PrepareOptions, ReadOptions, Tokenizer, prepare, read_documents};

const ROUNDS: usize = 3;

/// Texts are given to the peer in groups of so many bytes, since an encoding takes about fifty times its text.
const GROUP_BYTES: usize = 8 << 20;

fn main() {
    let mut args = env::args_os().skip(1).filter(|arg| arg != "--bench").map(PathBuf::from);
    let Some(path) = args.next() else {
        println!("usage: cargo bench -p contextlm-data --bench prepare -- TOKENIZER.json INPUT...");
        return;
    };
    let inputs: Vec<PathBuf> = args.collect();
    let ours = Tokenizer::from_file(&path).unwrap();
    let mut theirs = tokenizers::Tokenizer::from_file(&path).unwrap();
    theirs.set_encode_special_tokens(true);
    let texts: Vec<String> =
        read_documents(&inputs, &ReadOptions::default()).unwrap().map(|document| document.unwrap().text).collect();
    let bytes: usize = texts.iter().map(String::len).sum();
    let threads = rayon::current_num_threads();
    println!("{} documents, {} MB, {threads} threads", texts.len(), bytes / 1_000_000);

    let (mut of_prepare, mut of_encode_batch, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let (peer_tokens, peer) = timed(|| groups(&texts).map(|group| encode(&theirs, group)).sum());
        let folder = tempfile::tempdir().unwrap();
        let (tokens, own) = timed(|| {
            let done = prepare(&inputs, &ours, folder.path(), &PrepareOptions::default(), |_| true).unwrap();
            done.train.tokens + done.valid.tokens - texts.len() as u64
        });
        assert_eq!(tokens, peer_tokens, "the two do not encode the same");
        let speed = |seconds: f64| tokens as f64 / seconds;
        println!(
            "round {round}: prepare {:.0} tokens/s, encode_batch {:.0} tokens/s, ratio {:.3}",
            speed(own),
            speed(peer),
            peer / own
        );
        of_prepare.push(speed(own));
        of_encode_batch.push(speed(peer));
        ratios.push(peer / own);
    }
    let result = serde_json::json!({
        "prepare_tokens_per_second": median(of_prepare).round(),
        "encode_batch_tokens_per_second": median(of_encode_batch).round(),
        "ratio": median(ratios), "threads": threads, "rounds": ROUNDS, "bytes": bytes,
    });
    println!("{result}");
}

fn timed(work: impl FnOnce() -> u64) -> (u64, f64) {
    let clock = Instant::now();
    let tokens = work();
    (tokens, clock.elapsed().as_secs_f64())
}

/// The texts in groups, none empty.
fn groups(texts: &[String]) -> impl Iterator<Item = Vec<&str>> {
    let mut rest = texts.iter().peekable();
    std::iter::from_fn(move || {
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(text) = rest.next_if(|text| group.is_empty() || bytes + text.len() <= GROUP_BYTES) {
            bytes += text.len();
            group.push(text.as_str());
        }
        (!group.is_empty()).then_some(group)
    })
}

fn encode(tokenizer: &tokenizers::Tokenizer, texts: Vec<&str>) -> u64 {
    let encodings = black_box(tokenizer.encode_batch(texts, false).unwrap());
    encodings.iter().map(|encoding| encoding.get_ids().len() as u64).sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
