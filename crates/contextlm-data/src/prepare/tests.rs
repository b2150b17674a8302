use std::collections::BTreeMap;

use super::*;
use crate::shard::{Width, header};
use crate::{Batches, Held, IGNORE_INDEX, Prefetch, ShardSet};

fn tokenizer() -> Tokenizer {
    let text = "a document about documents and about tokens. ".repeat(20);
    Tokenizer::train([Ok(Document::new(text))], 300).unwrap()
}

/// A folder with text in files of several kinds.
fn corpus(folder: &Path, documents: usize) -> Vec<PathBuf> {
    let inputs = folder.join("inputs");
    fs::create_dir(&inputs).unwrap();
    let line =
        |n: usize| serde_json::json!({ "text": format!("document {n} about tokens. ").repeat(1 + n % 7) }).to_string();
    let lines: Vec<String> = (0..documents).map(line).collect();
    fs::write(inputs.join("a.jsonl"), lines.join("\n")).unwrap();
    fs::write(inputs.join("b.txt"), "about one text <|endoftext|> and another").unwrap();
    let compressed = zstd::encode_all(lines.join("\n").as_bytes(), 0).unwrap();
    fs::write(inputs.join("c.jsonl.zst"), compressed).unwrap();
    vec![inputs]
}

/// Every file of a folder with its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), fs::read(path).unwrap())),
        }
    }
    found
}

fn relative(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(dir).into_iter().map(|(path, bytes)| (path.strip_prefix(dir).unwrap().to_path_buf(), bytes)).collect()
}

fn options() -> PrepareOptions {
    PrepareOptions { held: Some(Held::Fraction(0.2)), shard_tokens: 1000, ..PrepareOptions::default() }
}

#[test]
fn the_stream_is_every_document_behind_its_end_of_text() {
    let folder = tempfile::tempdir().unwrap();
    let (inputs, out, tokenizer) = (corpus(folder.path(), 100), folder.path().join("out"), tokenizer());
    let found = prepare(&inputs, &tokenizer, &out, &options(), |_| true).unwrap();
    let end = tokenizer.end_of_text().unwrap();
    let mut expected = [Vec::new(), Vec::new()];
    let mut bytes = [0, 0];
    for document in crate::read_documents(&inputs, &Default::default()).unwrap() {
        let text = document.unwrap().text;
        let side = usize::from(crate::split::hash(text.as_bytes()) < crate::split::threshold(0.2).unwrap());
        expected[side].push(end);
        expected[side].extend(tokenizer.encode(&text).unwrap());
        bytes[side] += text.len() as u64;
    }
    for (side, (name, info)) in [("train", &found.train), ("valid", &found.valid)].into_iter().enumerate() {
        let set = ShardSet::open(out.join(name), tokenizer.vocab_size()).unwrap();
        assert_eq!(set.read(0, usize::MAX).unwrap(), expected[side], "{name}");
        assert_eq!(set.info(), Some(info));
        assert_eq!((info.tokens, info.bytes), (expected[side].len() as u64, bytes[side]));
        assert_eq!(info.documents, expected[side].iter().filter(|&&id| id == end).count() as u64);
        assert_eq!(info.tokenizer_sha256, tokenizer.sha256());
        assert!(info.shards.len() > 1 || name == "valid");
        assert!(info.shards.iter().rev().skip(1).all(|shard| shard.tokens == 1000));
        // Without shards.json, as other programs have them.
        fs::remove_file(out.join(name).join(SHARDS_JSON)).unwrap();
        assert_eq!(
            ShardSet::open(out.join(name), 300).unwrap().read(7, 2100).unwrap(),
            expected[side][7..2107.min(expected[side].len())]
        );
    }
    assert!(!out.join(JOURNAL).exists());
}

#[test]
fn what_was_interrupted_goes_on_and_ends_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (inputs, tokenizer) = (corpus(folder.path(), 100), tokenizer());
    // Enough text for several batches.
    let large: String =
        (0..60_000).map(|n| format!("{{\"text\": \"{}\"}}\n", format!("tokens about {n} ").repeat(20))).collect();
    fs::write(inputs[0].join("d.jsonl"), large).unwrap();
    let options = PrepareOptions { shard_tokens: 100_000, ..options() };
    let whole = folder.path().join("whole");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let expected = pool.install(|| prepare(&inputs, &tokenizer, &whole, &options, |_| true)).unwrap();
    let out = folder.path().join("parts");
    let mut calls = 0;
    let found = loop {
        calls += 1;
        // Every call makes one batch more than the one before.
        let mut batches = 0;
        let go_on = |_: &Counts| {
            batches += 1;
            batches < calls
        };
        match prepare(&inputs, &tokenizer, &out, &options, go_on) {
            Err(DataError::Interrupted { .. }) => {
                // A kill leaves more in the open file than the journal says.
                let partial = files(&out).into_keys().find(|path| path.extension().is_some_and(|e| e == "partial"));
                let path = partial.unwrap();
                let mut bytes = fs::read(&path).unwrap();
                bytes.extend([1; 77]);
                fs::write(&path, bytes).unwrap();
            }
            done => break done.unwrap(),
        }
    };
    assert!(calls > 2, "{calls} calls");
    assert_eq!((&found.train, &found.valid), (&expected.train, &expected.valid));
    assert!(relative(&whole) == relative(&out));

    let refused =
        |options: &PrepareOptions| prepare(&inputs, &tokenizer, &out, options, |_| true).unwrap_err().to_string();
    assert!(refused(&options).contains("already"));
    let overwrite = PrepareOptions { overwrite: true, ..options.clone() };
    prepare(&inputs, &tokenizer, &out, &overwrite, |_| true).unwrap();
    assert!(relative(&whole) == relative(&out));
}

#[test]
fn a_shard_that_was_closed_after_the_journal_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (inputs, tokenizer, out) = (corpus(folder.path(), 10), tokenizer(), folder.path().join("out"));
    assert!(prepare(&inputs, &tokenizer, &out, &options(), |_| false).is_err());
    fs::rename(out.join("train/000000.bin.partial"), out.join("train/000000.bin")).unwrap();
    prepare(&inputs, &tokenizer, &out, &options(), |_| true).unwrap();
    let whole = folder.path().join("whole");
    prepare(&inputs, &tokenizer, &whole, &options(), |_| true).unwrap();
    assert!(relative(&whole) == relative(&out));
}

#[test]
fn other_inputs_and_other_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (inputs, tokenizer, out) = (corpus(folder.path(), 10), tokenizer(), folder.path().join("out"));
    assert!(prepare(&inputs, &tokenizer, &out, &options(), |_| false).is_err());
    let other = PrepareOptions { shard_tokens: 7, ..options() };
    let error = prepare(&inputs, &tokenizer, &out, &other, |_| true).unwrap_err().to_string();
    assert!(error.contains("other options"), "{error}");
    let error = prepare(&inputs, &tokenizer, folder.path(), &options(), |_| true).unwrap_err().to_string();
    assert!(error.contains("not empty"), "{error}");
    assert!(inputs[0].join("a.jsonl").exists());
    let error = prepare(&inputs, &tokenizer, &out, &PrepareOptions { shard_tokens: 0, ..options() }, |_| true);
    assert!(error.unwrap_err().to_string().contains("shard_tokens"));
}

#[test]
fn one_process_writes_and_nobody_reads_before_it_is_through() {
    let folder = tempfile::tempdir().unwrap();
    let (inputs, tokenizer, out) = (corpus(folder.path(), 100), tokenizer(), folder.path().join("out"));
    let overwrite = PrepareOptions { overwrite: true, ..options() };
    let mut asked = 0;
    let second = |_: &Counts| {
        asked += 1;
        let error = prepare(&inputs, &tokenizer, &out, &overwrite, |_| true).unwrap_err().to_string();
        assert!(error.contains("another process"), "{error}");
        false
    };
    assert!(matches!(prepare(&inputs, &tokenizer, &out, &options(), second), Err(DataError::Interrupted { .. })));
    assert_eq!(asked, 1);

    let open = || ShardSet::open(out.join("train"), 300).map_err(|error| error.to_string());
    let error = open().unwrap_err();
    assert!(error.contains("not finished") && error.contains("prepare.json"), "{error}");
    // Without the journal a shard that is begun tells.
    let journal = fs::read(out.join(JOURNAL)).unwrap();
    fs::remove_file(out.join(JOURNAL)).unwrap();
    let error = open().unwrap_err();
    assert!(error.contains("not finished") && error.contains("bin.partial"), "{error}");
    fs::write(out.join(JOURNAL), journal).unwrap();
    prepare(&inputs, &tokenizer, &out, &options(), |_| true).unwrap();
    open().unwrap();
    // A folder of something else gets no lock.
    assert!(prepare(&inputs, &tokenizer, &inputs[0], &options(), |_| true).is_err());
    assert!(!inputs[0].join("prepare.lock").exists());
}

#[test]
fn overwriting_removes_shards_and_no_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let (inputs, tokenizer, out) = (corpus(folder.path(), 10), tokenizer(), folder.path().join("out"));
    prepare(&inputs, &tokenizer, &out, &options(), |_| true).unwrap();
    let notes = out.join("train/notes.txt");
    fs::write(&notes, "text of mine").unwrap();
    fs::write(out.join("train/000099.bin"), "of an older set").unwrap();
    let overwrite = PrepareOptions { overwrite: true, ..options() };
    let before = files(&out);
    let own = [out.join("train"), out.join("valid/../train/notes.txt")];
    for own in own.into_iter().map(|path| vec![inputs[0].clone(), path]) {
        let error = prepare(&own, &tokenizer, &out, &overwrite, |_| true).unwrap_err().to_string();
        assert!(error.contains("notes.txt") && error.contains("is an input"), "{error}");
        assert!(files(&out) == before, "nothing is lost");
    }
    let held = PrepareOptions { held: Some(Held::Paths(vec![notes.clone()])), ..overwrite.clone() };
    assert!(prepare(&inputs, &tokenizer, &out, &held, |_| true).is_err());
    prepare(&inputs, &tokenizer, &out, &overwrite, |_| true).unwrap();
    assert_eq!(fs::read(&notes).unwrap(), b"text of mine");
    assert!(!out.join("train/000099.bin").exists());
}

#[test]
fn parts_are_in_the_set_of_their_document() {
    let folder = tempfile::tempdir().unwrap();
    let (inputs, tokenizer) = (corpus(folder.path(), 100), tokenizer());
    let bytes = |name: &str, part_bytes| {
        let options = PrepareOptions { part_bytes, ..options() };
        let found = prepare(&inputs, &tokenizer, &folder.path().join(name), &options, |_| true).unwrap();
        ([found.train.bytes, found.valid.bytes], found.train.documents)
    };
    let (whole, parts) = (bytes("whole", None), bytes("parts", Some(20)));
    assert_eq!(whole.0, parts.0);
    assert!(parts.1 > whole.1);
    let error = PrepareOptions { part_bytes: Some(0), ..options() }.validate().unwrap_err().to_string();
    assert!(error.contains("part_bytes = 0"), "{error}");
}

#[test]
fn what_is_held_out_is_not_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let (inputs, tokenizer, out) = (corpus(folder.path(), 10), tokenizer(), folder.path().join("out"));
    let held = Some(Held::Paths(vec![inputs[0].join("c.jsonl.zst")]));
    let found = prepare(&inputs, &tokenizer, &out, &PrepareOptions { held, ..options() }, |_| true).unwrap();
    assert_eq!((found.train.documents, found.valid.documents), (11, 10));
    let nothing = PrepareOptions { held: None, overwrite: true, ..options() };
    let found = prepare(&inputs, &tokenizer, &out, &nothing, |_| true).unwrap();
    assert_eq!((found.train.documents, found.valid.documents, found.valid.shards.len()), (21, 0, 0));
}

#[test]
fn bad_documents_stop_it_or_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (inputs, tokenizer, out) = (corpus(folder.path(), 10), tokenizer(), folder.path().join("out"));
    let cut = zstd::encode_all(&b"{\"text\": \"a\"}\n".repeat(5000)[..], 0).unwrap();
    fs::write(inputs[0].join("cut.jsonl.zst"), &cut[..cut.len() - 5]).unwrap();
    fs::write(inputs[0].join("empty.txt"), "").unwrap();
    fs::write(inputs[0].join("keys.jsonl"), "{\"text\": \"a\"}\n{\"other\": \"b\"}\n").unwrap();
    fs::write(inputs[0].join("latin.txt"), b"a\n\xe9\n").unwrap();
    let error = prepare(&inputs, &tokenizer, &out, &options(), |_| true).unwrap_err();
    assert!(matches!(error, DataError::Damaged { .. }), "{error}");
    let skip = PrepareOptions { skip_bad: true, overwrite: true, ..options() };
    let found = prepare(&inputs, &tokenizer, &out, &skip, |_| true).unwrap();
    assert_eq!(found.skipped, 4);
    for (message, part) in
        found.messages.iter().zip(["cut.jsonl.zst", "empty.txt", "keys.jsonl, line 2", "latin.txt, line 2"])
    {
        assert!(message.contains(part), "{message}");
    }
}

/// A folder with one shard of these bytes.
fn shard(bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x.bin"), bytes).unwrap();
    folder
}

#[test]
fn broken_shards_are_refused_when_they_are_opened() {
    let tokens = [1, 2, 3, 70_000, 5];
    let write = |width: Width, count: usize| {
        let mut bytes = header(width, count, 80_000).to_vec();
        width.append(&tokens, &mut bytes);
        bytes
    };
    let open = |bytes: &[u8], vocabulary| {
        let folder = shard(bytes);
        ShardSet::open(folder.path(), vocabulary).map(|set| set.read(1, 3).unwrap()).map_err(|error| error.to_string())
    };
    assert_eq!(open(&write(Width::U32, 5), 80_000), Ok(vec![2, 3, 70_000]));
    assert_eq!(open(&write(Width::U16, 5), 80_000), Ok(vec![2, 3, 70_000 % (1 << 16)]));
    let refused = |bytes: &[u8], part: &str| {
        let error = open(bytes, 80_000).unwrap_err();
        assert!(error.contains("x.bin") && error.contains(part), "{error}");
    };
    let whole = write(Width::U32, 5);
    refused(&whole[..whole.len() - 1], "truncated");
    refused(&[&whole[..], &[0]].concat(), "truncated");
    refused(&whole[..900], "900 bytes");
    refused(&write(Width::U32, usize::MAX), "-1 tokens");
    refused(&[&[0; 4], &whole[4..]].concat(), "begins with 0");
    refused(&[&whole[..4], &[9, 0, 0, 0], &whole[8..]].concat(), "version 9");
    let error = open(&whole, 70_000).unwrap_err();
    assert!(error.contains("token 70000 at 3"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    assert!(ShardSet::open(empty.path(), 10).unwrap_err().to_string().contains("no token shards"));
}

#[test]
fn batches_from_shards_are_those_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    let tokens: Vec<u32> = (0..1003).collect();
    for (number, part) in tokens.chunks(97).enumerate() {
        let mut bytes = header(Width::U16, part.len(), 0).to_vec();
        Width::U16.append(part, &mut bytes);
        fs::write(folder.path().join(format!("{number:06}.bin")), bytes).unwrap();
    }
    let shards = ShardSet::open(folder.path(), 1003).unwrap();
    assert_eq!(shards.len(), 1003);
    let from_shards = Batches::new(shards, 150, 2, 3).unwrap();
    let from_memory = Batches::new(tokens, 150, 2, 3).unwrap();
    let ahead = Prefetch::new(from_shards, 0, 2);
    for (found, expected) in ahead.zip(from_memory.iter_from(0)).take(20) {
        let (found, expected) = (found.unwrap(), expected.unwrap());
        assert_eq!(found, expected);
        assert!(!found.targets.contains(&IGNORE_INDEX));
    }
}
