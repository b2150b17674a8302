use crate::NnError;

/// Where documents begin in every row of a packed batch.
///
/// Within a document position ids count from 0, chunks are cut from its first token, and attention stays inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    starts: Vec<Vec<usize>>,
    length: usize,
}

impl Documents {
    /// `starts[row]` are the offsets at which documents begin, the first one 0; every row has `length` entries.
    ///
    /// # Errors
    /// [`NnError::Documents`] if a row's starts do not begin at 0, do not increase or reach `length`.
    pub fn new(starts: Vec<Vec<usize>>, length: usize) -> Result<Self, NnError> {
        for (row, starts) in starts.iter().enumerate() {
            let whole = starts.first() == Some(&0)
                && starts.windows(2).all(|pair| pair[0] < pair[1])
                && starts.last().is_some_and(|&last| last < length);
            if !whole {
                return Err(NnError::Documents { row, starts: starts.clone(), length });
            }
        }
        Ok(Self { starts, length })
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.starts.len()
    }

    /// Entries of a row.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The documents of a row as `(start, length)`, in order.
    pub fn of_row(&self, row: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let starts = &self.starts[row];
        let ends = starts.iter().skip(1).copied().chain([self.length]);
        starts.iter().copied().zip(ends).map(|(start, end)| (start, end - start))
    }
}
