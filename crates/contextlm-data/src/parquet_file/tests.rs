use std::fs;
use std::path::PathBuf;

use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::data_type::Int32Type;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;
use crate::{ReadOptions, read_documents};

/// A file of three row groups with numbers, and texts that may be null.
fn write(path: &Path, texts: &[Option<&str>], compression: Compression) {
    let schema = "message rows { required int32 id; optional binary text (UTF8); }";
    let properties = WriterProperties::builder().set_compression(compression).build();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    for group in texts.chunks(texts.len().div_ceil(3).max(1)) {
        let mut columns = writer.next_row_group().unwrap();
        let mut ids = columns.next_column().unwrap().unwrap();
        let numbers: Vec<i32> = (0..group.len() as i32).collect();
        ids.typed::<Int32Type>().write_batch(&numbers, None, None).unwrap();
        ids.close().unwrap();
        let mut column = columns.next_column().unwrap().unwrap();
        let values: Vec<ByteArray> = group.iter().flatten().map(|text| ByteArray::from(*text)).collect();
        let levels: Vec<i16> = group.iter().map(|text| i16::from(text.is_some())).collect();
        column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
        column.close().unwrap();
        columns.close().unwrap();
    }
    writer.close().unwrap();
}

fn read(path: PathBuf) -> Vec<Result<Document, DataError>> {
    read_documents(&[path], &ReadOptions::default()).unwrap().collect()
}

#[test]
fn rows_come_in_order_in_every_compression() {
    let folder = tempfile::tempdir().unwrap();
    let texts: Vec<String> = (0..1000).map(|n| format!("text {n} é\n").repeat(n % 5)).collect();
    let rows: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
    for (name, compression) in [
        ("plain", Compression::UNCOMPRESSED),
        ("snappy", Compression::SNAPPY),
        ("gzip", Compression::GZIP(GzipLevel::default())),
        ("zstd", Compression::ZSTD(ZstdLevel::default())),
        ("lz4", Compression::LZ4_RAW),
    ] {
        let path = folder.path().join(format!("{name}.parquet"));
        write(&path, &rows, compression);
        let found: Vec<_> = read(path).into_iter().map(Result::unwrap).collect();
        assert!(found.iter().map(|document| &document.text).eq(&texts), "{name}");
        assert!(found.iter().map(|document| document.line).eq(1..=1000));
    }
    // The folder holds all five.
    assert_eq!(read(folder.path().into()).len(), 5 * 1000);
}

#[test]
fn what_is_wrong_is_named_with_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write(&path, &[Some("one"), None, Some("three")], Compression::UNCOMPRESSED);
    let found = read(path.clone());
    assert_eq!(found[0].as_ref().unwrap().text, "one");
    assert!(matches!(&found[1], Err(DataError::NotAString { line: 2, found: "null", .. })), "{:?}", found[1]);
    assert_eq!(found[2].as_ref().unwrap().text, "three");

    let key = |key: &str| {
        let options = ReadOptions { key: key.into(), ..ReadOptions::default() };
        let items: Vec<_> = read_documents(std::slice::from_ref(&path), &options).unwrap().collect();
        assert_eq!(items.len(), 1);
        items.into_iter().next().unwrap().unwrap_err()
    };
    assert!(matches!(key("body"), DataError::MissingKey { .. }));
    assert!(matches!(key("id"), DataError::NotAString { .. }));

    let long = ReadOptions { max_document_bytes: 3, ..ReadOptions::default() };
    let found: Vec<_> = read_documents(std::slice::from_ref(&path), &long).unwrap().collect();
    assert!(matches!(found[2], Err(DataError::TooLong { line: 3, .. })));

    // A text that is no UTF-8: its bytes stand in the file as they are.
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|window| window == b"three").unwrap();
    let mut wrong = bytes.clone();
    wrong[at] = 0xff;
    fs::write(&path, wrong).unwrap();
    assert!(matches!(read(path.clone())[2], Err(DataError::NotUtf8 { line: 3, .. })));

    fs::write(&path, "").unwrap();
    assert!(matches!(read(path.clone())[..], [Err(DataError::EmptyFile { .. })]));
    write(&path, &[], Compression::UNCOMPRESSED);
    assert!(matches!(read(path)[..], [Err(DataError::EmptyFile { .. })]));
}

#[test]
fn a_codec_that_is_not_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write(&path, &[Some("one"), Some("two"), Some("three")], Compression::SNAPPY);
    // Field 4 of a column's metadata, SNAPPY as a zigzag i32, and the head of field 5: to BROTLI.
    let mut bytes = fs::read(&path).unwrap();
    let places: Vec<_> = (0..bytes.len() - 2).filter(|&at| bytes[at..at + 3] == [0x15, 2, 0x16]).collect();
    assert_eq!(places.len(), 6, "three groups of two columns");
    places.iter().for_each(|at| bytes[at + 1] = 8);
    fs::write(&path, bytes).unwrap();
    let found = read(path);
    assert!(matches!(found[..], [Err(DataError::Codec { codec: "BROTLI", .. })]), "{found:?}");
}

#[test]
fn a_page_that_says_it_is_too_large_is_refused_before_it_is_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let text = "text ".repeat(20_000);
    write(&path, &[Some(&text)], Compression::ZSTD(ZstdLevel::default()));
    let read = |most| ParquetFile::open_limited(&path, "text", most).unwrap().next_row(1 << 30).map(Option::unwrap);
    // Of the 100,000 bytes a few hundred are in the file.
    assert!(fs::metadata(&path).unwrap().len() < 2000);
    let error = read(99_000).unwrap_err().to_string();
    assert!(error.contains("no more than 99000 are read at once"), "{error}");
    assert_eq!(read(101_000).unwrap().text, text);
}

#[test]
fn no_damage_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let texts: Vec<String> = (0..60).map(|n| format!("text {n}")).collect();
    let rows: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
    write(&path, &rows, Compression::SNAPPY);
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for at in (0..whole.len()).step_by(3) {
        for damage in [&whole[..at], &[&whole[..at], &[whole[at] ^ 0x55], &whole[at + 1..]].concat()] {
            fs::write(&path, damage).unwrap();
            // Some damage is in what nobody reads.
            refused += usize::from(read(path.clone()).iter().any(Result::is_err));
        }
    }
    assert!(refused * 2 > whole.len() / 3, "{refused} of {}", 2 * whole.len() / 3);
}
