//! Work on blocks of the output, on all threads and with the widest vectors that the processor has.

use rayon::prelude::*;

use super::vectorised::{Vectorised, vectorised};

/// Elements of a block: enough that a thread does not wait for the next one, few enough to stay in the second cache.
const BLOCK: usize = 16 * 1024;

/// Rows of a block whose rows have this width. It depends on nothing else, so that what is summed over the rows of a
/// block is the same with any number of threads.
pub(crate) fn rows_of_block(width: usize) -> usize {
    (BLOCK / width.max(1)).max(1)
}

/// Work on one block. A generic closure in between would be one call too many to be inlined, hence the fields.
struct Block<'a, F> {
    work: &'a F,
    number: usize,
    out: &'a mut [f32],
}

impl<R, F: Fn(usize, &mut [f32]) -> R> Vectorised for Block<'_, F> {
    type Output = R;

    #[inline(always)]
    fn run(self) -> R {
        (*self.work)(self.number, self.out)
    }
}

/// Cuts `out` into blocks, calls `work` with the number and the values of each, and returns what it returns, in order.
#[inline(always)]
pub(crate) fn blocks<R: Send>(out: &mut [f32], block: usize, work: impl Fn(usize, &mut [f32]) -> R + Sync) -> Vec<R> {
    let run = |(number, out): (usize, &mut [f32])| vectorised(Block { work: &work, number, out });
    if out.len() <= BLOCK.min(block) {
        out.chunks_mut(block).enumerate().map(run).collect()
    } else {
        out.par_chunks_mut(block).enumerate().map(run).collect()
    }
}

/// `value` of every element, in `out`.
///
/// # Panics
/// If x is shorter than `out`; so below.
#[inline(always)]
pub(crate) fn map(out: &mut [f32], x: &[f32], value: impl Fn(f32) -> f32 + Sync) {
    blocks(
        out,
        BLOCK,
        #[inline(always)]
        |number, out| {
            let x = &x[number * BLOCK..][..out.len()];
            for (out, &x) in out.iter_mut().zip(x) {
                *out = value(x);
            }
        },
    );
}

/// `value` of every element of two inputs, in `out`.
#[inline(always)]
pub(crate) fn map2(out: &mut [f32], x: &[f32], y: &[f32], value: impl Fn(f32, f32) -> f32 + Sync) {
    blocks(
        out,
        BLOCK,
        #[inline(always)]
        |number, out| {
            let (x, y) = (&x[number * BLOCK..][..out.len()], &y[number * BLOCK..][..out.len()]);
            for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
                *out = value(x, y);
            }
        },
    );
}

/// `value` of every element of three inputs, in `out`.
#[inline(always)]
pub(crate) fn map3(out: &mut [f32], x: [&[f32]; 3], value: impl Fn(f32, f32, f32) -> f32 + Sync) {
    blocks(
        out,
        BLOCK,
        #[inline(always)]
        |number, out| {
            let [x, y, z] = [x[0], x[1], x[2]].map(|x| &x[number * BLOCK..][..out.len()]);
            for (((out, &x), &y), &z) in out.iter_mut().zip(x).zip(y).zip(z) {
                *out = value(x, y, z);
            }
        },
    );
}
