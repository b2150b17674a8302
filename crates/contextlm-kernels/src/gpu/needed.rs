//! What of a product there has to be, where scores of attention are masked causally.

/// Rows of the output's tiles: what is left out is left out in steps of them.
pub(super) const ROWS: usize = 128;

/// The part of a product x y that is needed. T is the number of queries and of keys, both in tiles of [`ROWS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Needed {
    /// All of it.
    All,
    /// The output is scores, T x T: tiles wholly above the diagonal are neither made nor written.
    BelowDiagonal,
    /// x is probabilities, T x T: of each row of tiles, what is behind the last row is zero and not read.
    UpToRow,
    /// x is probabilities turned: of each row of tiles, what is before the first row is zero and not read.
    FromRow,
}
