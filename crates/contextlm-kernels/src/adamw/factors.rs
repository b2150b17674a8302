//! What the numbers of a step come to.

use super::AdamWStep;

/// The factors of one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Factors {
    pub(crate) beta_1: f32,
    pub(crate) beta_2: f32,
    /// What is left of 1 after the powers of beta.
    pub(crate) left: [f32; 2],
    pub(crate) eps: f32,
    pub(crate) lr: f32,
    /// What weight decay leaves of the parameter.
    pub(crate) kept: f32,
}

impl Factors {
    pub(crate) fn new(step: AdamWStep) -> Self {
        let AdamWStep { lr, beta_1, beta_2, eps, weight_decay, time } = step;
        let left = [beta_1, beta_2].map(|beta| 1.0 - beta.powi(time as i32));
        let kept = (1.0 - lr * f64::from(weight_decay)) as f32;
        Self { beta_1, beta_2, left, eps, lr: lr as f32, kept }
    }
}
