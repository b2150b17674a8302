use std::fs;
use std::io::Write;

use super::*;

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn read(&self, name: &str, bytes: impl AsRef<[u8]>) -> Vec<Result<Document, DataError>> {
        read_documents(&[self.write(name, bytes)], &ReadOptions::default()).unwrap().collect()
    }
}

fn texts(items: Vec<Result<Document, DataError>>) -> Vec<String> {
    items.into_iter().map(|item| item.unwrap().text).collect()
}

const LINES: &str = "{\"text\": \"one\"}\n\n{\"id\": 2, \"text\": \"two\\n\"}\r\n{\"text\": \"\"}";

#[test]
fn every_format_in_every_compression() {
    let folder = Folder::new();
    let text = "first line\nsécond\n".as_bytes();
    for name in ["a.txt", "a.md", "a.rs"] {
        assert_eq!(texts(folder.read(name, text)), ["first line\nsécond\n"]);
        assert_eq!(texts(folder.read(&format!("{name}.gz"), gz(text))), ["first line\nsécond\n"]);
        assert_eq!(texts(folder.read(&format!("{name}.zst"), zst(text))), ["first line\nsécond\n"]);
    }
    let lines = LINES.as_bytes();
    let expected = ["one", "two\n", ""];
    assert_eq!(texts(folder.read("a.jsonl", lines)), expected);
    assert_eq!(texts(folder.read("a.jsonl.gz", gz(lines))), expected);
    assert_eq!(texts(folder.read("a.jsonl.zst", zst(lines))), expected);
    // The folder now holds all of them, nine of one document and three of three.
    let all = read_documents(&[folder.0.path().into()], &ReadOptions::default()).unwrap();
    assert_eq!(all.map(Result::unwrap).count(), 9 + 3 * 3);
}

#[test]
fn several_frames_are_one_file() {
    let folder = Folder::new();
    let join = |pack: fn(&[u8]) -> Vec<u8>| [pack(b"one "), pack(b"two")].concat();
    assert_eq!(texts(folder.read("a.txt.gz", join(gz))), ["one two"]);
    assert_eq!(texts(folder.read("a.txt.zst", join(zst))), ["one two"]);
}

#[test]
fn documents_know_their_file_and_line() {
    let folder = Folder::new();
    let found: Vec<_> = folder.read("a.jsonl", LINES).into_iter().map(Result::unwrap).collect();
    assert_eq!(found.iter().map(|document| document.line).collect::<Vec<_>>(), [1, 3, 4]);
    assert!(found[0].path.ends_with("a.jsonl"));
}

#[test]
fn a_byte_order_mark_is_no_text() {
    let folder = Folder::new();
    assert_eq!(texts(folder.read("a.txt", b"\xEF\xBB\xBFabc")), ["abc"]);
    assert_eq!(texts(folder.read("a.jsonl", b"\xEF\xBB\xBF{\"text\": \"abc\"}")), ["abc"]);
}

#[test]
fn another_key() {
    let folder = Folder::new();
    let path = folder.write("a.jsonl", "{\"body\": \"x\", \"text\": \"y\"}\n");
    let options = ReadOptions { key: "body".into(), ..Default::default() };
    assert_eq!(texts(read_documents(&[path], &options).unwrap().collect()), ["x"]);
}

#[test]
fn a_bad_line_names_itself_and_the_next_one_is_read() {
    let folder = Folder::new();
    let bad =
        b"{\"text\": \"a\"}\n{\"text\": \n{\"id\": 1}\n{\"text\": 3}\n[]\n{\"text\": \"\xff\"}\n{\"text\": \"b\"}\n";
    let found = folder.read("bad.jsonl", bad);
    assert_eq!(found.len(), 7);
    assert_eq!(found[0].as_ref().unwrap().text, "a");
    assert!(matches!(found[1], Err(DataError::Json { line: 2, .. })), "{:?}", found[1]);
    assert!(matches!(&found[2], Err(DataError::MissingKey { line: 3, key, .. }) if key == "text"));
    assert!(matches!(found[3], Err(DataError::NotAString { line: 4, found: "a number", .. })));
    assert!(matches!(found[4], Err(DataError::Json { line: 5, .. })));
    assert!(matches!(found[5], Err(DataError::NotUtf8 { line: 6, .. })));
    assert_eq!(found[6].as_ref().unwrap().text, "b");
    for item in found.iter().filter_map(|item| item.as_ref().err()) {
        assert!(item.to_string().contains("bad.jsonl, line "), "{item}");
    }
}

#[test]
fn broken_utf8_names_the_line() {
    let folder = Folder::new();
    let found = folder.read("a.txt", b"one\ntwo\nthr\xc3\x28e\n");
    assert!(matches!(found[..], [Err(DataError::NotUtf8 { line: 3, .. })]), "{found:?}");
}

#[test]
fn empty_files_are_errors_and_the_next_file_is_read() {
    let folder = Folder::new();
    let paths = [
        folder.write("a.txt", ""),
        folder.write("b.jsonl", "\n \n"),
        folder.write("c.md.zst", zst(b"")),
        folder.write("d.rs.gz", gz(b"")),
        folder.write("e.txt", "x"),
    ];
    let found: Vec<_> = read_documents(&paths, &ReadOptions::default()).unwrap().collect();
    assert_eq!(found.len(), 5);
    assert!(found[..4].iter().all(|item| matches!(item, Err(DataError::EmptyFile { .. }))), "{found:?}");
    assert_eq!(found[4].as_ref().unwrap().text, "x");
}

/// Lines that do not compress away, so that a cut leaves some whole ones.
fn many_lines() -> Vec<u8> {
    let mut noise = 1u64;
    let mut line = || {
        let mut text = String::new();
        for _ in 0..100 {
            noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            text += &format!("{:x}", noise >> 16);
        }
        format!("{{\"text\": \"{text}\"}}\n")
    };
    (0..400).map(|_| line()).collect::<String>().into_bytes()
}

#[test]
fn a_cut_compressed_file_is_an_error_wherever_it_is_cut() {
    let folder = Folder::new();
    let lines = many_lines();
    for (extension, packed) in [("gz", gz(&lines)), ("zst", zst(&lines))] {
        for cut in [0, 1, 3, 10, packed.len() / 2, packed.len() - 5, packed.len() - 1] {
            let found = folder.read(&format!("a.jsonl.{extension}"), &packed[..cut]);
            let last = found.last().unwrap().as_ref().unwrap_err();
            // A zstd file of no bytes is a whole file with no frame in it.
            let named =
                matches!(last, DataError::Damaged { .. }) || cut == 0 && matches!(last, DataError::EmptyFile { .. });
            assert!(named, "{extension} cut at {cut}: {last}");
            assert!(found[..found.len() - 1].iter().all(Result::is_ok));
            if cut == packed.len() / 2 {
                let whole = found.len() as u64 - 1;
                assert!(whole > 0 && matches!(last, DataError::Damaged { line, .. } if *line == whole + 1), "{last}");
            }
            let found = folder.read(&format!("a.txt.{extension}"), &packed[..cut]);
            assert!(matches!(found[..], [Err(DataError::Damaged { .. } | DataError::EmptyFile { .. })]));
        }
    }
}

#[test]
fn damaged_bytes_never_panic() {
    let folder = Folder::new();
    let lines = many_lines();
    for (extension, packed) in [("gz", gz(&lines)), ("zst", zst(&lines)), ("jsonl", lines.clone())] {
        for at in (0..packed.len()).step_by(packed.len() / 60) {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x55;
            let name = if extension == "jsonl" { "a.jsonl".to_owned() } else { format!("a.jsonl.{extension}") };
            assert!(folder.read(&name, &damaged).len() <= 2 * 400);
        }
    }
}

#[test]
fn the_limit_holds_for_documents_and_lines() {
    let folder = Folder::new();
    let options = ReadOptions { max_document_bytes: 20, ..Default::default() };
    let read = |path| read_documents(&[path], &options).unwrap().collect::<Vec<_>>();
    assert_eq!(texts(read(folder.write("a.txt", "x".repeat(20)))), ["x".repeat(20)]);
    assert!(matches!(read(folder.write("b.txt", "x".repeat(21)))[..], [Err(DataError::TooLong { limit: 20, .. })]));
    // A small file can unpack to anything.
    let bomb = zst(&vec![b'x'; 50_000_000]);
    assert!(bomb.len() < 10_000);
    assert!(matches!(read(folder.write("c.txt.zst", &bomb))[..], [Err(DataError::TooLong { .. })]));
    let lines = format!("{{\"text\": \"a\"}}\n{{\"text\": \"{}\"}}\n{{\"text\": \"b\"}}\n", "x".repeat(100));
    let found = read(folder.write("d.jsonl", lines));
    assert!(matches!(found[..], [Ok(_), Err(DataError::TooLong { line: 2, .. }), Ok(_)]), "{found:?}");
}

#[test]
fn long_documents_are_cut_after_lines_or_characters_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    let text = "one\ntwo three\nfour\nééééééé\n";
    fs::write(&path, text).unwrap();
    let parts = |bytes| {
        let options = ReadOptions { part_bytes: Some(bytes), ..Default::default() };
        let parts = read_documents(std::slice::from_ref(&path), &options).unwrap().map(|item| item.unwrap());
        parts.map(|part| (part.text, part.line)).collect::<Vec<_>>()
    };
    let expected = [("one\n", 1), ("two three\n", 2), ("four\n", 3), ("ééééé", 4), ("éé\n", 4)];
    assert_eq!(parts(11), expected.map(|(text, line)| (text.to_string(), line)));
    for bytes in 1..text.len() + 2 {
        let parts = parts(bytes);
        assert_eq!(parts.iter().map(|(text, _)| &**text).collect::<String>(), text, "{bytes}");
        assert!(parts.iter().all(|(text, _)| text.len() <= bytes.max(2)), "{bytes}");
    }
    let nothing = ReadOptions { part_bytes: Some(0), ..Default::default() };
    assert!(matches!(read_documents(&[path], &nothing).err(), Some(DataError::BatchShape { key: "part_bytes", .. })));
}
