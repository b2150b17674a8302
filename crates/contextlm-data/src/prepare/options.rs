use serde::{Deserialize, Serialize};

use crate::parts::refuse_no_part;
use crate::{DataError, Held, ShardsInfo};

/// How text becomes token shards.
#[derive(Debug, Clone, PartialEq)]
pub struct PrepareOptions {
    /// The key of a JSON line that holds the text. Default: `text`.
    pub key: String,
    /// What is held out to validate with; `None` for nothing. Default: one document in a hundred, by a hash of its text.
    pub held: Option<Held>,
    /// Tokens of a shard. Default: 100 million.
    pub shard_tokens: usize,
    /// Whether documents that cannot be read are counted and left out; otherwise the first one is an error. Default: no.
    pub skip_bad: bool,
    /// A longer document becomes several of at most so many bytes, at least 1, all in the same set. It is read whole, but not
    /// encoded whole, which takes far more memory. Default: documents stay whole.
    pub part_bytes: Option<usize>,
    /// Whether the shards that are in the folder are removed first. Default: no.
    pub overwrite: bool,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self {
            key: "text".into(),
            held: Some(Held::Fraction(0.01)),
            shard_tokens: 100_000_000,
            skip_bad: false,
            part_bytes: None,
            overwrite: false,
        }
    }
}

impl PrepareOptions {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        refuse_no_part(self.part_bytes)?;
        if (1..1 << 31).contains(&self.shard_tokens) {
            return Ok(());
        }
        let fix = "use 1 to 2147483647".into();
        Err(DataError::BatchShape { key: "shard_tokens", value: self.shard_tokens, fix })
    }

    /// What the files depend on.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let Self { key, held, shard_tokens, skip_bad, part_bytes, overwrite: _ } = self.clone();
        let held = format!("{held:?}");
        Fingerprint { key, held, shard_tokens, skip_bad, part_bytes }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    key: String,
    held: String,
    shard_tokens: usize,
    skip_bad: bool,
    part_bytes: Option<usize>,
}

/// What a preparation has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The set to train on.
    pub train: ShardsInfo,
    /// The set to validate with; it may have no shard.
    pub valid: ShardsInfo,
    /// Documents that were left out.
    pub skipped: u64,
    /// Why, of the first few that this call has met.
    pub messages: Vec<String>,
}
