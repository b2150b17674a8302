//! The optimizer's step on slices, which are the same for every backend on the CPU.

use rayon::prelude::*;

use super::AdamWStep;
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

#[derive(Clone, Copy)]
struct Factors {
    beta_1: f32,
    beta_2: f32,
    /// What is left of 1 after the powers of beta.
    left: [f32; 2],
    eps: f32,
    lr: f32,
    kept: f32,
}

impl Factors {
    fn new(step: AdamWStep) -> Self {
        let AdamWStep { lr, beta_1, beta_2, eps, weight_decay, time } = step;
        let left = [beta_1, beta_2].map(|beta| 1.0 - beta.powi(time as i32));
        let kept = (1.0 - lr * f64::from(weight_decay)) as f32;
        Self { beta_1, beta_2, left, eps, lr: lr as f32, kept }
    }
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
