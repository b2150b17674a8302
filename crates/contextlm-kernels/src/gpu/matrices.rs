//! How the matrices of a product lie in memory.

use burn_cubecl::cubecl::zspace::metadata::Metadata;
use burn_cubecl::cubecl::zspace::{shape, strides};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

/// What TMA, the unit that loads tiles into shared memory, wants addresses to be multiples of, in bytes.
pub(super) const ALIGNED: usize = 16;

/// Which of the last two dimensions lies together in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Layout {
    Rows,
    Columns,
}

/// That of an operand; none for one whose rows, or columns, do not begin at multiples of 16 bytes.
pub(super) fn layout(operand: &CubeTensor) -> Option<Layout> {
    if operand.meta.is_tiled() {
        return None;
    }
    let (shape, strides) = (operand.meta.shape(), operand.meta.strides());
    let step = ALIGNED / operand.dtype.size();
    let rank = shape.num_dims();
    let (layout, within) = match (strides[rank - 2], strides[rank - 1]) {
        (1, _) => (Layout::Columns, rank - 2),
        (_, 1) => (Layout::Rows, rank - 1),
        _ => return None,
    };
    let others = (0..rank).filter(|at| *at != within && shape[*at] > 1);
    let mut steps = others.map(|at| strides[at]);
    let begins = operand.handle.offset_start.unwrap_or(0) % ALIGNED as u64;
    let aligned = begins == 0 && steps.all(|step_of| step_of > 0 && step_of.is_multiple_of(step));
    aligned.then_some(layout)
}

/// Whether what lies together in an operand begins at multiples of 16 bytes also in a copy without gaps.
pub(super) fn ends_aligned(operand: &CubeTensor, layout: Layout) -> bool {
    let (shape, rank) = (operand.meta.shape(), operand.meta.num_dims());
    let within = if layout == Layout::Columns { rank - 2 } else { rank - 1 };
    shape[within].is_multiple_of(ALIGNED / operand.dtype.size())
}

/// An operand of two to four dimensions with four; rows together in memory, or else columns, or else a copy.
pub(super) fn as_matrices(x: &CubeTensor) -> (CubeTensor, Layout) {
    let rank = x.meta.num_dims();
    let x = match !x.meta.is_tiled() && x.meta.strides()[rank - 2..].contains(&1) {
        true => x.clone(),
        false => into_contiguous(x.clone()),
    };
    let (mut dims, mut steps) = (shape![1, 1, 1, 1], strides![0, 0, 0, 0]);
    for at in 0..rank {
        dims[4 - rank + at] = x.meta.shape()[at];
        steps[4 - rank + at] = x.meta.strides()[at];
    }
    let layout = if steps[3] == 1 { Layout::Rows } else { Layout::Columns };
    (with_meta(&x, Metadata::new(dims, steps)), layout)
}

/// The same memory, seen in another way.
pub(super) fn with_meta(x: &CubeTensor, meta: Metadata) -> CubeTensor {
    CubeTensor::new(x.client.clone(), x.handle.clone(), meta, x.device.clone(), x.dtype)
}
