//! The optimizer's step on slices, which are the same for every backend on the CPU.

use rayon::prelude::*;

use super::AdamWStep;
use super::factors::Factors;
use crate::slices::vectorised::{Vectorised, vectorised};

/// Elements that a thread does at once.
const BLOCK: usize = 64 * 1024;

/// A step of x and its moments m and v, all of one length, on all threads.
pub(super) fn update(x: &mut [f32], gradient: &[f32], m: &mut [f32], v: &mut [f32], step: AdamWStep) {
    let factors = Factors::new(step);
    let blocks = x.par_chunks_mut(BLOCK).zip(m.par_chunks_mut(BLOCK)).zip(v.par_chunks_mut(BLOCK));
    blocks.zip(gradient.par_chunks(BLOCK)).for_each(|(((x, m), v), gradient)| {
        vectorised(Update { x, m, v, gradient, factors });
    });
}

struct Update<'a> {
    x: &'a mut [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    gradient: &'a [f32],
    factors: Factors,
}

impl Vectorised for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { x, m, v, gradient, factors } = self;
        let Factors { beta_1, beta_2, left: [left_1, left_2], eps, lr, kept } = factors;
        for (((x, m), v), g) in x.iter_mut().zip(m).zip(v).zip(gradient) {
            *m = *m * beta_1 + g * (1.0 - beta_1);
            *v = *v * beta_2 + g * g * (1.0 - beta_2);
            let update = (*m / left_1) / ((*v / left_2).sqrt() + eps);
            *x = *x * kept - update * lr;
        }
    }
}
