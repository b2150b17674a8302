//! Scalars as event files that TensorBoard reads.
//!
//! An event file is a row of TFRecords: the length of the data (eight bytes, lowest first), its masked CRC-32C, the data, and
//! the data's masked CRC-32C. The data are protocol buffers, messages `Event` of TensorBoard's `event.proto`, of which a few
//! fields are needed here. The crates that write them are no longer kept up.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::TrainError;

/// A file of events in a directory.
#[derive(Debug)]
pub(crate) struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// Begins a file. What earlier files of the directory say of steps after `done` is then left out by TensorBoard.
    pub(crate) fn create(dir: &Path, done: usize) -> Result<Self, TrainError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Files are read in the order of their names, and two of one second must not meet.
        let name = format!("events.out.tfevents.{:010}.{:09}.contextlm", now.as_secs(), now.subsec_nanos());
        let path = dir.join(name);
        let file = File::options().create_new(true).write(true).open(&path).map_err(TrainError::io(&path))?;
        let mut events = Self { file, path };
        events.add(&event(now.as_secs_f64(), 0, &[string(FILE_VERSION, "brain.Event:2")]))?;
        if done > 0 {
            events.add(&event(now.as_secs_f64(), done + 1, &[message(SESSION_LOG, &varint(STATUS, START))]))?;
        }
        Ok(events)
    }

    /// Adds scalars of a step under their tags.
    pub(crate) fn scalars(&mut self, step: usize, scalars: &[(&str, f64)]) -> Result<(), TrainError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.add(&event(now, step, &[summary(scalars)]))
    }

    fn add(&mut self, event: &[u8]) -> Result<(), TrainError> {
        self.file.write_all(&record(event)).map_err(TrainError::io(&self.path))
    }
}

// Numbers of the fields of Event, SessionLog, Summary and Summary.Value.
const WALL_TIME: u8 = 1;
const STEP: u8 = 2;
const FILE_VERSION: u8 = 3;
const SUMMARY: u8 = 5;
const SESSION_LOG: u8 = 7;
const STATUS: u8 = 1;
const START: u64 = 1;
const VALUE: u8 = 1;
const TAG: u8 = 1;
const SIMPLE_VALUE: u8 = 2;

/// A TFRecord.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length).to_le_bytes(), data, &masked_crc(data).to_le_bytes()].concat()
}

/// A CRC of data that hold CRCs themselves would be weak, so it is turned and moved.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn event(wall_time: f64, step: usize, what: &[Vec<u8>]) -> Vec<u8> {
    let mut event = double(WALL_TIME, wall_time);
    // What is 0 is not written.
    if step > 0 {
        event.extend(varint(STEP, step as u64));
    }
    event.extend(what.concat());
    event
}

fn summary(scalars: &[(&str, f64)]) -> Vec<u8> {
    let value =
        |(tag, value): &(&str, f64)| message(VALUE, &[string(TAG, tag), float(SIMPLE_VALUE, *value as f32)].concat());
    message(SUMMARY, &scalars.iter().flat_map(value).collect::<Vec<u8>>())
}

// The four ways in which a protocol buffer holds a value: after the number of the field and the way.

fn varint(field: u8, value: u64) -> Vec<u8> {
    [&[field << 3][..], &number(value)].concat()
}

fn double(field: u8, value: f64) -> Vec<u8> {
    [&[field << 3 | 1][..], &value.to_le_bytes()].concat()
}

fn message(field: u8, data: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2][..], &number(data.len() as u64), data].concat()
}

fn string(field: u8, text: &str) -> Vec<u8> {
    message(field, text.as_bytes())
}

fn float(field: u8, value: f32) -> Vec<u8> {
    [&[field << 3 | 5][..], &value.to_le_bytes()].concat()
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by TensorBoard itself: `tools/write_tensorboard_fixture.py`.
    const FIXTURE: &[u8] = include_bytes!("../tests/fixtures/events.out.tfevents.tensorboard");

    #[test]
    fn our_bytes_are_tensorboards() {
        let events = [
            event(1_700_000_000.25, 0, &[string(FILE_VERSION, "brain.Event:2")]),
            event(1_700_000_001.5, 1, &[summary(&[("loss/train", 5.5), ("lr", 6e-4)])]),
            event(1_700_000_002.5, 300, &[summary(&[("loss/valid", f64::from(f32::MAX))])]),
            event(1_700_000_003.5, 5_000_000_000, &[message(SESSION_LOG, &varint(STATUS, START))]),
        ];
        let ours: Vec<u8> = events.iter().flat_map(|event| record(event)).collect();
        assert!(ours == FIXTURE, "{ours:02x?}\n{FIXTURE:02x?}");
    }

    /// The data of the records of a file, whose sums are right.
    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let sum = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(12);
            assert_eq!(sum(&head[8..]), masked_crc(&head[..8]));
            let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
            let (data, rest) = rest.split_at(length);
            assert_eq!(sum(rest), masked_crc(data));
            found.push(data.to_vec());
            bytes = &rest[4..];
        }
        found
    }

    #[test]
    fn a_file_holds_what_was_added_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path(), 0).unwrap();
        file.scalars(3, &[("a", 1.5)]).unwrap();
        let found = records(&std::fs::read(&file.path).unwrap());
        assert_eq!(found.len(), 2);
        assert!(found[1].ends_with(&[&varint(STEP, 3)[..], &summary(&[("a", 1.5)])].concat()));
        // One that goes on says from where.
        let next = EventFile::create(folder.path(), 3).unwrap();
        let found = records(&std::fs::read(&next.path).unwrap());
        assert!(found[1].ends_with(&[&varint(STEP, 4)[..], &[SESSION_LOG << 3 | 2, 2, STATUS << 3, 1]].concat()));
        assert!(next.path > file.path);
    }
}
