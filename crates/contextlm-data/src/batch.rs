/// The target of a position that counts nowhere, as in PyTorch's cross-entropy.
pub const IGNORE_INDEX: i64 = -100;

/// Rows of tokens, each with the token that follows it as its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// B*T ids, row after row.
    pub inputs: Vec<i64>,
    /// B*T ids, row after row, already shifted; [`IGNORE_INDEX`] where there is none.
    pub targets: Vec<i64>,
    /// B.
    pub rows: usize,
    /// T.
    pub length: usize,
    /// Only for packed documents: for every row the offsets at which documents begin, increasing from 0.
    pub documents: Option<Vec<Vec<usize>>>,
}

impl Batch {
    /// A batch without rows yet.
    pub(crate) fn empty(rows: usize, length: usize, packed: bool) -> Self {
        let entries = rows * length;
        Self {
            inputs: Vec::with_capacity(entries),
            targets: Vec::with_capacity(entries),
            rows: 0,
            length,
            documents: packed.then(Vec::new),
        }
    }

    /// Appends the row that `window` is: its tokens but the last as inputs, its tokens but the first as targets. A window
    /// of fewer than T+1 tokens is filled up with id 0, without targets; causal models see nothing of that before it.
    pub(crate) fn push(&mut self, window: &[u32], end_of_text: Option<u32>) {
        let inputs = &window[..window.len() - 1];
        let fill = self.length - inputs.len();
        self.inputs.extend(inputs.iter().map(|&id| i64::from(id)));
        self.inputs.extend(std::iter::repeat_n(0, fill));
        self.targets.extend(window[1..].iter().map(|&id| i64::from(id)));
        self.targets.extend(std::iter::repeat_n(IGNORE_INDEX, fill));
        if let (Some(documents), Some(end_of_text)) = (&mut self.documents, end_of_text) {
            documents.push(document_starts(inputs, end_of_text));
        }
        self.rows += 1;
    }

    /// The targets that count.
    pub fn scored(&self) -> usize {
        self.targets.iter().filter(|&&target| target != IGNORE_INDEX).count()
    }
}

/// Where documents begin in a row: at every end-of-text id, and at 0, where a document that the row cuts begins anew. The
/// last target of a document is then the end-of-text id of the next.
fn document_starts(inputs: &[u32], end_of_text: u32) -> Vec<usize> {
    let starts = inputs.iter().enumerate().skip(1).filter(|(_, id)| **id == end_of_text).map(|(offset, _)| offset);
    std::iter::once(0).chain(starts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_inputs_shifted() {
        let mut batch = Batch::empty(2, 4, true);
        batch.push(&[9, 1, 9, 9, 9], Some(9));
        batch.push(&[2, 9, 3], Some(9));
        assert_eq!(batch.inputs, [9, 1, 9, 9, 2, 9, 0, 0]);
        assert_eq!(batch.targets, [1, 9, 9, 9, 9, 3, -100, -100]);
        assert_eq!(batch.documents, Some(vec![vec![0, 2, 3], vec![0, 1]]));
        assert_eq!((batch.rows, batch.scored()), (2, 6));
    }
}
