//! The optimizer's step on GPUs.

use burn::backend::Cube;
use burn::backend::tensor::FloatTensor;

use super::AdamWStep;
use super::factors::Factors;
use super::ops::AdamWOps;
use crate::gpu::GpuOps;

impl AdamWOps for Cube {
    fn fused_adamw(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        Self::gpu_adamw(x, gradient, m, v, Factors::new(step))
    }
}
