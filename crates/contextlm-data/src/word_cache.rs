use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words that a thread keeps of one tokenizer; about 10 MB.
const MAX_WORDS: usize = 1 << 16;

/// Longer words are hardly ever met twice.
const MAX_BYTES: usize = 64;

/// Names a tokenizer in the caches of all threads. Clones of a tokenizer are the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheId(u64);

impl CacheId {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A tokenizer's words and their ids.
#[derive(Default)]
struct Words {
    owner: u64,
    ids: HashMap<Box<str>, Box<[u32]>>,
}

thread_local! {
    /// Those of the tokenizer that this thread has used last. Nothing is shared, so nothing waits.
    static CACHE: RefCell<Words> = RefCell::default();
}

/// Appends the ids of words, one after the other; `encode` is asked for those that this thread does not know.
///
/// # Errors
/// The first of `encode`.
pub(crate) fn encode_words<'t, E>(
    id: CacheId,
    words: impl Iterator<Item = &'t str>,
    ids: &mut Vec<u32>,
    encode: impl Fn(&str) -> Result<Vec<u32>, E>,
) -> Result<(), E> {
    CACHE.with_borrow_mut(|Words { owner, ids: cache }| {
        if *owner != id.0 {
            cache.clear();
            *owner = id.0;
        }
        for word in words {
            if let Some(known) = cache.get(word) {
                ids.extend_from_slice(known);
                continue;
            }
            let found = encode(word)?;
            ids.extend_from_slice(&found);
            if cache.len() < MAX_WORDS && word.len() <= MAX_BYTES {
                cache.insert(word.into(), found.into());
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_asked_for_once_a_tokenizer() {
        let asked = std::cell::Cell::new(0);
        let encode = |factor: u32| {
            let asked = &asked;
            move |word: &str| {
                asked.set(asked.get() + 1);
                if word == "bad" { Err("bad") } else { Ok(vec![factor * word.len() as u32]) }
            }
        };
        let run = |id, factor, text: &'static str| {
            let mut ids = Vec::new();
            encode_words(id, text.split(' '), &mut ids, encode(factor)).map(|()| ids)
        };
        let (one, two) = (CacheId::new(), CacheId::new());
        assert_eq!(run(one, 1, "a bb a ccc bb"), Ok(vec![1, 2, 1, 3, 2]));
        assert_eq!(asked.get(), 3);
        assert_eq!(run(one, 1, "a bad a"), Err("bad"));
        assert_eq!(run(one, 1, "bb"), Ok(vec![2]));
        assert_eq!(asked.get(), 4);
        // Another tokenizer has other ids.
        assert_eq!(run(two, 10, "a bb"), Ok(vec![10, 20]));
        assert_eq!(run(one, 1, "a bb"), Ok(vec![1, 2]));
    }
}
