use std::borrow::Cow;
use std::sync::Arc;

use crate::{DataError, ShardSet};

/// A stream of tokens to cut windows from: in memory, or in shards.
#[derive(Clone, Debug)]
pub enum Tokens {
    /// In memory.
    Memory(Arc<[u32]>),
    /// In files.
    Shards(Arc<ShardSet>),
}

impl Tokens {
    /// Their number.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(tokens) => tokens.len(),
            Self::Shards(shards) => shards.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `count` tokens from `start` on.
    ///
    /// # Errors
    /// [`DataError::Io`].
    ///
    /// # Panics
    /// If there are fewer in memory.
    pub fn window(&self, start: usize, count: usize) -> Result<Cow<'_, [u32]>, DataError> {
        match self {
            Self::Memory(tokens) => Ok(Cow::Borrowed(&tokens[start..start + count])),
            Self::Shards(shards) => shards.read(start, count).map(Cow::Owned),
        }
    }
}

impl From<Arc<[u32]>> for Tokens {
    fn from(tokens: Arc<[u32]>) -> Self {
        Self::Memory(tokens)
    }
}

impl From<Vec<u32>> for Tokens {
    fn from(tokens: Vec<u32>) -> Self {
        Self::Memory(tokens.into())
    }
}

impl From<&[u32]> for Tokens {
    fn from(tokens: &[u32]) -> Self {
        Self::Memory(tokens.into())
    }
}

impl From<ShardSet> for Tokens {
    fn from(shards: ShardSet) -> Self {
        Self::Shards(Arc::new(shards))
    }
}
