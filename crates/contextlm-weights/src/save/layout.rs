use contextlm_core::ModelTensor;
use serde_json::{Map, Value, json};

use crate::FloatType;

/// A tensor as it is going to be in its file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: u64,
}

/// A file and its tensors, in the order in which a walk through the model meets them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shard {
    pub(super) file: String,
    pub(super) tensors: Vec<Placed>,
}

impl Shard {
    /// Bytes of all tensors.
    pub(super) fn bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.bytes).sum()
    }

    /// The first bytes of the file: the length of the header, and the header, filled up to a multiple of 8.
    pub(super) fn header(&self, dtype: FloatType) -> Vec<u8> {
        let mut entries = Map::new();
        // Without this `transformers` does not know whose layout the tensors have.
        entries.insert("__metadata__".into(), json!({ "format": "pt" }));
        let mut start = 0;
        for tensor in &self.tensors {
            let end = start + tensor.bytes;
            let entry = json!({ "dtype": dtype.format_name(), "shape": tensor.shape, "data_offsets": [start, end] });
            entries.insert(tensor.name.clone(), entry);
            start = end;
        }
        let mut text = Value::Object(entries).to_string().into_bytes();
        text.resize(text.len().next_multiple_of(8), b' ');
        [&(text.len() as u64).to_le_bytes()[..], &text].concat()
    }
}

/// Parts tensors into files of at most `max_bytes` each; a larger tensor has a file of its own.
pub(super) fn shards(tensors: Vec<ModelTensor>, dtype: FloatType, max_bytes: u64) -> Vec<Shard> {
    let mut parts: Vec<Vec<Placed>> = vec![Vec::new()];
    let mut size = 0;
    for tensor in tensors {
        let shape = tensor.stored_shape();
        let bytes = shape.iter().product::<usize>() as u64 * dtype.bytes() as u64;
        if size + bytes > max_bytes && size > 0 {
            parts.push(Vec::new());
            size = 0;
        }
        size += bytes;
        if let Some(part) = parts.last_mut() {
            part.push(Placed { name: tensor.name.name, shape, bytes });
        }
    }
    let count = parts.len();
    let file = |i: usize| match count {
        1 => "model.safetensors".to_string(),
        _ => format!("model-{:05}-of-{count:05}.safetensors", i + 1),
    };
    parts.into_iter().enumerate().map(|(i, tensors)| Shard { file: file(i), tensors }).collect()
}
