use std::fs::{self, File};

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::json;

use super::*;
use crate::read_records;

/// Rows as the hub has them of multiple-choice questions: nested lists, a number, a float, a null.
const SCHEMA: &str = "message schema {
    optional binary question (UTF8);
    optional group choices {
        optional group text (LIST) { repeated group list { optional binary element (UTF8); } }
        optional group label (LIST) { repeated group list { optional binary element (UTF8); } }
    }
    optional int64 gold;
    optional double weight;
}";

fn write(path: &Path) {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    // Two row groups, each with a question of two choices and one of three.
    for _ in 0..2 {
        let mut columns = writer.next_row_group().unwrap();
        let texts = |texts: &[&str]| texts.iter().map(|text| ByteArray::from(*text)).collect::<Vec<_>>();
        let lists = [texts(&["é", "no", "x", "y", "z"]), texts(&["A", "B", "1", "2", "3"])];
        let mut lists = lists.iter();
        let mut number = 0;
        while let Some(mut column) = columns.next_column().unwrap() {
            match number {
                0 => {
                    column.typed::<ByteArrayType>().write_batch(&texts(&["Why?"]), Some(&[1, 0]), None).unwrap();
                }
                1 | 2 => {
                    let values = lists.next().unwrap();
                    // Definition levels of what is there, and where a new list begins.
                    let (there, begins) = ([4; 5], [0, 1, 0, 1, 1]);
                    column.typed::<ByteArrayType>().write_batch(values, Some(&there), Some(&begins)).unwrap();
                }
                3 => {
                    column.typed::<Int64Type>().write_batch(&[1, -1], Some(&[1, 1]), None).unwrap();
                }
                _ => {
                    column.typed::<DoubleType>().write_batch(&[0.5, f64::NAN], Some(&[1, 1]), None).unwrap();
                }
            }
            column.close().unwrap();
            number += 1;
        }
        columns.close().unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn rows_are_objects_with_all_that_is_nested_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write(&path);
    let first = json!({ "question": "Why?", "choices": { "text": ["é", "no"], "label": ["A", "B"] },
        "gold": 1, "weight": 0.5 });
    let second = json!({ "question": null, "choices": { "text": ["x", "y", "z"], "label": ["1", "2", "3"] },
        "gold": -1, "weight": null });
    let found: Vec<_> = read_records(&path).unwrap().map(Result::unwrap).collect();
    let values: Vec<_> = found.iter().map(|(row, record)| (*row, json!(record))).collect();
    assert_eq!(values, [(1, first.clone()), (2, second.clone()), (3, first), (4, second)]);
}

#[test]
fn json_lines_are_records_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, "{\"a\": [1]}\n\n{\"a\": null}\n").unwrap();
    let found: Vec<_> = read_records(&path).unwrap().map(Result::unwrap).collect();
    assert_eq!((found[0].0, found[1].0, json!(found[0].1)), (1, 3, json!({ "a": [1] })));
    fs::write(folder.path().join("a.txt"), "x").unwrap();
    assert!(matches!(read_records(folder.path().join("a.txt")), Err(DataError::UnknownExtension { .. })));
}

#[test]
fn no_damage_panics_and_none_is_read_as_another_row_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write(&path);
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for at in (0..whole.len()).step_by(3) {
        for damage in [&whole[..at], &[&whole[..at], &[whole[at] ^ 0x55], &whole[at + 1..]].concat()] {
            fs::write(&path, damage).unwrap();
            let found: Result<Vec<_>, _> = read_records(&path).and_then(|records| records.take(100).collect());
            assert!(found.as_ref().is_err() || found.as_ref().unwrap().len() == 4, "{at}: {found:?}");
            refused += usize::from(found.is_err());
        }
    }
    assert!(refused * 2 > whole.len() / 3, "{refused} of {}", 2 * whole.len() / 3);
}
