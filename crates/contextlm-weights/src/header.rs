use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use safetensors::Dtype;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use crate::unique::UniqueMap;

/// The format's own limit, in bytes.
const MAX_HEADER: u64 = 100_000_000;
/// More dimensions than any tensor of ours; a limit keeps a header's shapes no larger than its text.
const MAX_RANK: usize = 8;

/// Where a tensor is in its file; checked against the file's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// First byte, from the start of the file.
    pub(crate) start: u64,
}

impl Stored {
    /// Number of values; it fits, because the file holds them.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: Dtype,
    shape: Shape,
    data_offsets: (u64, u64),
}

/// Reads the header of a safetensors file: 8 bytes of length, little-endian, then that much JSON, then the data, which
/// tensors must cover without gap or overlap.
pub(crate) fn read_header(mut file: &File) -> io::Result<BTreeMap<String, Stored>> {
    let length = file.metadata()?.len();
    let mut prefix = [0; 8];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut prefix).map_err(|_| invalid("too short for a safetensors file"))?;
    let header = u64::from_le_bytes(prefix);
    if header > MAX_HEADER || header > length - 8 {
        return Err(invalid(format!(
            "not a whole safetensors file: a header of {header} bytes in a file of {length} (at most {MAX_HEADER})"
        )));
    }
    let mut text = vec![0; header as usize];
    file.read_exact(&mut text)?;
    let UniqueMap(entries) =
        serde_json::from_slice::<UniqueMap<Entry>>(&text).map_err(|error| invalid(format!("header: {error}")))?;
    drop(text);
    check(entries, 8 + header, length)
}

fn check(entries: BTreeMap<String, Entry>, data: u64, length: u64) -> io::Result<BTreeMap<String, Stored>> {
    let mut spans: Vec<_> = entries.iter().map(|(name, entry)| (entry.data_offsets, name)).collect();
    spans.sort();
    let mut end = 0;
    for ((from, to), name) in spans {
        if from != end || to < from {
            let fault =
                format!("{}: data_offsets [{from}, {to}], but the tensor before it ends at {end}", name.escape_debug());
            return Err(invalid(fault));
        }
        end = to;
    }
    if end != length - data {
        let held = length - data;
        return Err(invalid(format!(
            "the header promises {end} bytes of data, the file holds {held}: is it truncated?"
        )));
    }
    let stored = |(name, entry): (String, Entry)| {
        let (from, to) = entry.data_offsets;
        let Entry { dtype, shape: Shape(shape), .. } = entry;
        let size = shape
            .iter()
            .try_fold(1_usize, |size, &dimension| size.checked_mul(dimension))
            .and_then(|count| count.checked_mul(dtype.bitsize()));
        if size.is_none_or(|bits| !bits.is_multiple_of(8) || (bits / 8) as u64 != to - from) {
            let fault =
                format!("{}: shape {shape:?} of {dtype:?} does not take {} bytes", name.escape_debug(), to - from);
            return Err(invalid(fault));
        }
        Ok((name, Stored { dtype, shape, start: data + from }))
    };
    entries.into_iter().map(stored).collect()
}

/// A list of at most [`MAX_RANK`] dimensions.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Dimensions;

        impl<'de> Visitor<'de> for Dimensions {
            type Value = Shape;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "at most {MAX_RANK} dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut dimensions: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(dimension) = dimensions.next_element()? {
                    if shape.len() == MAX_RANK {
                        return Err(A::Error::custom(format!("a shape of more than {MAX_RANK} dimensions")));
                    }
                    shape.push(dimension);
                }
                Ok(Shape(shape))
            }
        }

        deserializer.deserialize_seq(Dimensions)
    }
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}
