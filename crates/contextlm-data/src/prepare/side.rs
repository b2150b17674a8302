use std::path::PathBuf;

use crate::split::threshold;
use crate::{DataError, Document, Documents, Held, PrepareOptions, find_files};

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

    /// All files with the side of their documents, those that are held out last.
    pub(super) fn files(&self) -> impl Iterator<Item = (&PathBuf, Side)> {
        let train = self.train.iter().map(|path| (path, Side::Train));
        train.chain(self.valid.iter().map(|path| (path, Side::Valid)))
    }

    /// The side of a document, or of a part of one, that was read last, from a file of a side.
    pub(super) fn side_of(&self, document: &Document, documents: &Documents, file: Side) -> Side {
        let held = self.threshold > 0 && documents.whole_hash(document) < self.threshold;
        if held { Side::Valid } else { file }
    }
}
