use contextlm_data::ShardSet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::TrainError;

/// Tokens at either end of a set without `shards.json` that its digest is of.
const ENDS: usize = 65_536;

/// The text that a run trains on: a checkpoint goes on with the same one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingSet {
    /// All tokens.
    pub tokens: u64,
    /// Digest of the digests that `shards.json` has of its files; without one, of the first and the last 65,536 tokens.
    pub sha256: String,
}

impl TrainingSet {
    /// The set of these shards. No more than the ends of it are read.
    ///
    /// # Errors
    /// [`TrainError::Data`].
    pub fn of(shards: &ShardSet) -> Result<Self, TrainError> {
        let mut digest = Sha256::new();
        match shards.info() {
            Some(info) => info.shards.iter().for_each(|shard| digest.update(&shard.sha256)),
            None => {
                let last = shards.len().saturating_sub(ENDS);
                for token in [shards.read(0, ENDS)?, shards.read(last, ENDS)?].concat() {
                    digest.update(token.to_le_bytes());
                }
            }
        }
        let sha256 = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { tokens: shards.len() as u64, sha256 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with one shard of llm.c's format.
    fn shards(tokens: &[u16]) -> ShardSet {
        let folder = tempfile::tempdir().unwrap();
        let mut header = [0; 256];
        header[..3].copy_from_slice(&[20_240_520, 1, tokens.len() as i32]);
        let mut bytes: Vec<u8> = header.iter().flat_map(|word: &i32| word.to_le_bytes()).collect();
        bytes.extend(tokens.iter().flat_map(|token| token.to_le_bytes()));
        std::fs::write(folder.path().join("a.bin"), bytes).unwrap();
        ShardSet::open(folder.path(), 1000).unwrap()
    }

    #[test]
    fn other_tokens_are_another_set() {
        let set = |tokens: &[u16]| TrainingSet::of(&shards(tokens)).unwrap();
        let first = set(&[1, 2, 3]);
        assert_eq!((first.tokens, &first), (3, &set(&[1, 2, 3])));
        assert!(first.sha256 != set(&[1, 2, 4]).sha256 && first.tokens != set(&[1, 2]).tokens);
    }
}
