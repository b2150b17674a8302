//! The rotation on GPUs: one pass, from wherever the heads are.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Cube, TensorMetadata};

use super::ops::RotaryOps;
use crate::gpu::GpuOps;

impl RotaryOps for Cube {
    fn fused_rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        back: bool,
    ) -> FloatTensor<Self> {
        // Nothing to launch a kernel for.
        let none = [&x, &cos].iter().any(|tensor| tensor.shape().num_elements() == 0);
        if none { x } else { Self::gpu_rotary(x, cos, sin, back) }
    }
}
