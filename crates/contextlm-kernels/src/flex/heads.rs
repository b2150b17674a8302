//! Queries, keys and values of several heads, as they are in the output of a projection.

use core::ops::Range;

use super::product::Matrix;
use super::tensor::FlexTensor;

/// [B, T, H, Dh] in a slice, the dimensions of a head side by side.
#[derive(Clone, Copy)]
pub(crate) struct Heads<'a> {
    pub(crate) values: &'a [f32],
    /// Strides of rows, entries and heads.
    pub(crate) strides: [usize; 3],
}

impl<'a> Heads<'a> {
    /// Some entries of one head, [entries, Dh].
    pub(crate) fn matrix(&self, row: usize, head: usize, entries: Range<usize>, width: usize) -> Matrix<'a> {
        let stride = self.strides[1];
        match entries.len() {
            0 => Matrix::new(&[], 0, width, stride),
            count => Matrix::new(self.from(row, head, entries.start), count, width, stride),
        }
    }

    /// One entry of one head, `[Dh]`.
    #[inline(always)]
    pub(crate) fn vector(&self, row: usize, head: usize, entry: usize, width: usize) -> &'a [f32] {
        &self.from(row, head, entry)[..width]
    }

    #[inline(always)]
    fn from(&self, row: usize, head: usize, entry: usize) -> &'a [f32] {
        let [row_stride, stride, head_stride] = self.strides;
        &self.values[row * row_stride + entry * stride + head * head_stride..]
    }
}

/// The tensor [B, T, H, Dh] itself if the elements of every head are side by side, as they are in parts of a projection,
/// else a contiguous copy.
pub(crate) fn with_whole_heads(tensor: FlexTensor) -> FlexTensor {
    let strides = tensor.layout().strides();
    let whole = strides[3] == 1 && strides.iter().all(|&stride| stride >= 0);
    if whole { tensor } else { tensor.to_contiguous() }
}

/// The elements of a tensor with whole heads.
pub(crate) fn heads(tensor: &FlexTensor) -> Heads<'_> {
    let layout = tensor.layout();
    let stride = |dimension: usize| layout.strides()[dimension].unsigned_abs();
    Heads { values: &tensor.storage::<f32>()[layout.start_offset()..], strides: [stride(0), stride(1), stride(2)] }
}
