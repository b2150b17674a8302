//! `contextlm prepare` as a process that is killed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::{json_of, text, with_tokenizer};

/// Every file below a folder, by its place in it.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for set in ["train", "valid"] {
        for entry in fs::read_dir(dir.join(set)).unwrap() {
            let path = entry.unwrap().path();
            found.insert(path.strip_prefix(dir).unwrap().to_path_buf(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn what_was_killed_goes_on_and_ends_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = with_tokenizer(folder.path()).join("tokenizer.json");
    // Words that are all different take their time.
    let inputs = folder.path().join("inputs");
    fs::create_dir(&inputs).unwrap();
    for file in 0..6u64 {
        let mut lines = String::new();
        for line in 0..4_000u64 {
            let word = |n: u64| ((file * 4_000 + line) * 50 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let words: Vec<String> = (0..50).map(|n| format!("{:x}", word(n))).collect();
            writeln!(lines, "{{\"text\": \"{}\"}}", words.join(" ")).unwrap();
        }
        fs::write(inputs.join(format!("{file}.jsonl")), lines).unwrap();
    }
    let args = |out: &Path| {
        let more = ["--valid-fraction", "0.1", "--shard-tokens", "1000000"];
        let args = ["prepare", "--tokenizer", text(&tokenizer), "--out", text(out), text(&inputs)];
        args.into_iter().chain(more).map(String::from).collect::<Vec<_>>()
    };
    let run = |out: &Path| {
        let args = args(out);
        json_of(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let expected = run(&whole);

    let mut command = Command::new(env!("CARGO_BIN_EXE_contextlm"));
    // One thread: however many cores there are, seconds are left after the first batches, which are written down.
    command.env("RAYON_NUM_THREADS", "1");
    let mut child = command.args(args(&parts)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Something is written down that a resumed call does not do again.
    let is_written = || {
        let journal = fs::read(parts.join("prepare.json")).ok();
        let journal: Option<Value> = journal.and_then(|text| serde_json::from_slice(&text).ok());
        journal.is_some_and(|journal| journal["train"]["counts"]["documents"].as_u64() > Some(0))
    };
    while !is_written() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        sleep(Duration::from_millis(2));
    }
    sleep(Duration::from_millis(u64::from(SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos()) % 100));
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    assert!(parts.join("prepare.json").exists() && !parts.join("train/shards.json").exists(), "it was not through");

    let found = run(&parts);
    assert_eq!((&found["tokens"], &found["documents"]), (&expected["tokens"], &expected["documents"]));
    assert!(files(&parts) == files(&whole));
}
