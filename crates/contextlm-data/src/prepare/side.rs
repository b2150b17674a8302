use std::path::PathBuf;

use crate::split::{hash, threshold};
use crate::{DataError, Document, Held, PrepareOptions, ReadOptions, find_files, read_documents};

/// Which set a document belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Train,
    Valid,
}

/// The files of a preparation, in order.
pub(super) struct Sides {
    pub(super) train: Vec<PathBuf>,
    pub(super) valid: Vec<PathBuf>,
    /// Documents of `train` whose hash is below it belong to the other set.
    threshold: u64,
}

impl Sides {
    pub(super) fn new(inputs: &[PathBuf], options: &PrepareOptions) -> Result<Self, DataError> {
        let mut sides = Self { train: find_files(inputs)?, valid: Vec::new(), threshold: 0 };
        match &options.held {
            None => {}
            Some(Held::Fraction(value)) => sides.threshold = threshold(*value)?,
            Some(Held::Paths(paths)) => {
                sides.valid = find_files(paths)?;
                // What is held out is not trained on, should a folder name it too.
                let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
                let held: Vec<_> = sides.valid.iter().map(real).collect();
                sides.train.retain(|path| !held.contains(&real(path)));
            }
        }
        Ok(sides)
    }

    /// All documents, those of the files that are held out last.
    pub(super) fn documents(
        &self,
        options: &PrepareOptions,
    ) -> Result<impl Iterator<Item = (Side, Result<Document, DataError>)> + Send + use<>, DataError> {
        let read = ReadOptions { key: options.key.clone(), part_bytes: options.part_bytes, ..ReadOptions::default() };
        let open = |paths: &[PathBuf]| match paths {
            [] => Ok(None),
            paths => read_documents(paths, &read).map(Some),
        };
        let (train, valid, threshold) = (open(&self.train)?, open(&self.valid)?, self.threshold);
        let of_text = move |document: &Document| {
            if threshold > 0 && hash(document.text.as_bytes()) < threshold { Side::Valid } else { Side::Train }
        };
        let train = train.into_iter().flatten().map(move |item| (item.as_ref().map_or(Side::Train, of_text), item));
        Ok(train.chain(valid.into_iter().flatten().map(|item| (Side::Valid, item))))
    }
}
