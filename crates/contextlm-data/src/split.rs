use std::path::PathBuf;

use crate::{DataError, Document, Documents, ReadOptions, read_documents};

/// Which documents are held out to validate with.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    /// About this share of the documents, above 0 and below 1, chosen by a hash of their text: the same text always falls
    /// on the same side, whatever stands around it and however often it is there.
    Fraction(f64),
    /// The documents of these files and folders; everything else is for training.
    Paths(Vec<PathBuf>),
}

/// The documents of `paths` to train on.
///
/// # Errors
/// [`DataError::Fraction`], and those of [`read_documents`].
pub fn train_documents(
    paths: &[PathBuf],
    held: &Held,
    options: &ReadOptions,
) -> Result<impl Iterator<Item = Result<Document, DataError>> + use<>, DataError> {
    let threshold = match held {
        Held::Fraction(value) => Some(threshold(*value)?),
        Held::Paths(_) => None,
    };
    Ok(side(read_documents(paths, options)?, threshold, false))
}

/// The documents to validate with: those of `paths` that [`train_documents`] leaves out, or those of [`Held::Paths`].
///
/// # Errors
/// [`DataError::Fraction`], and those of [`read_documents`].
pub fn valid_documents(
    paths: &[PathBuf],
    held: &Held,
    options: &ReadOptions,
) -> Result<impl Iterator<Item = Result<Document, DataError>> + use<>, DataError> {
    let (paths, threshold) = match held {
        Held::Fraction(value) => (paths, Some(threshold(*value)?)),
        Held::Paths(paths) => (paths.as_slice(), None),
    };
    Ok(side(read_documents(paths, options)?, threshold, true))
}

/// The documents whose hash is below the threshold, or the others; all of them without a threshold. Errors pass through.
/// Parts go where the whole document goes.
fn side(
    mut documents: Documents,
    threshold: Option<u64>,
    below: bool,
) -> impl Iterator<Item = Result<Document, DataError>> {
    std::iter::from_fn(move || {
        loop {
            let item = documents.next()?;
            match (&item, threshold) {
                (Ok(document), Some(threshold)) if (documents.whole_hash(document) < threshold) != below => {}
                _ => return Some(item),
            }
        }
    })
}

pub(crate) fn threshold(fraction: f64) -> Result<u64, DataError> {
    if fraction > 0.0 && fraction < 1.0 {
        Ok((fraction * 2f64.powi(64)) as u64)
    } else {
        Err(DataError::Fraction { value: fraction })
    }
}

/// FNV-1a, then the mixing of MurmurHash3, because FNV alone hardly moves the high bits of short texts. It decides what
/// is held out, so it must never change.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn texts(documents: impl Iterator<Item = Result<Document, DataError>>) -> Vec<String> {
        documents.map(|item| item.unwrap().text).collect()
    }

    #[test]
    fn every_document_is_on_one_side_and_the_share_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let lines: String = (0..4000).map(|n| format!("{{\"text\": \"{n}\"}}\n")).collect();
        fs::write(&path, lines).unwrap();
        let (paths, options) = ([path], ReadOptions::default());
        for fraction in [0.01, 0.1, 0.5] {
            let held = Held::Fraction(fraction);
            let train = texts(train_documents(&paths, &held, &options).unwrap());
            let valid = texts(valid_documents(&paths, &held, &options).unwrap());
            let mut all: Vec<u32> = train.iter().chain(&valid).map(|text| text.parse().unwrap()).collect();
            all.sort_unstable();
            assert_eq!(all, (0..4000).collect::<Vec<_>>());
            let share = valid.len() as f64 / 4000.0;
            // Five standard deviations.
            assert!((share - fraction).abs() < 5.0 * (fraction * (1.0 - fraction) / 4000.0).sqrt(), "{share}");
        }
    }

    #[test]
    fn the_parts_of_a_document_are_on_one_side() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let text = |n: usize| (0..20).map(|line| format!("{n} {line}\\n")).collect::<String>();
        let lines: String = (0..40).map(|n| format!("{{\"text\": \"{}\"}}\n", text(n))).collect();
        fs::write(&path, lines).unwrap();
        let (paths, options) = ([path], ReadOptions { part_bytes: Some(16), ..ReadOptions::default() });
        let held = Held::Fraction(0.5);
        let number = |text: String| text.split(' ').next().unwrap().parse::<usize>().unwrap();
        let numbers = |texts: Vec<String>| texts.into_iter().map(number).collect::<std::collections::BTreeSet<_>>();
        let train = numbers(texts(train_documents(&paths, &held, &options).unwrap()));
        let valid = numbers(texts(valid_documents(&paths, &held, &options).unwrap()));
        assert!(!train.is_empty() && !valid.is_empty());
        assert_eq!(train.intersection(&valid).count(), 0);
        assert_eq!(train.len() + valid.len(), 40);
    }

    #[test]
    fn held_paths_are_read_alone() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a.txt", "b.txt"].map(|name| folder.path().join(name));
        for path in &paths {
            fs::write(path, path.file_name().unwrap().to_str().unwrap()).unwrap();
        }
        let (held, options) = (Held::Paths(vec![paths[1].clone()]), ReadOptions::default());
        assert_eq!(texts(train_documents(&paths[..1], &held, &options).unwrap()), ["a.txt"]);
        assert_eq!(texts(valid_documents(&paths[..1], &held, &options).unwrap()), ["b.txt"]);
    }

    #[test]
    fn the_hash_is_the_same_for_good() {
        // The first value is MurmurHash3's mixing of FNV-1a's offset, computed apart from this code.
        assert_eq!(hash(b""), 0xefd0_1f60_ba99_2926);
        assert_ne!(hash(b"a") >> 48, hash(b"b") >> 48);
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for value in [0.0, 1.0, -0.1, 2.0, f64::NAN, f64::INFINITY] {
            let held = Held::Fraction(value);
            let refused = train_documents(&[], &held, &ReadOptions::default());
            assert!(matches!(refused.err(), Some(DataError::Fraction { .. })), "{value}");
        }
    }
}
