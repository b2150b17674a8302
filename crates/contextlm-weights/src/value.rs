use burn::tensor::Element;
use bytemuck::Pod;
use half::{bf16, f16};
use safetensors::Dtype;

/// A type that parameters have in memory.
pub(crate) trait Value: Element + Pod + Send + Sync {
    /// The same type in a file.
    const STORED: Dtype;

    /// The nearest value of this type.
    fn nearest(value: f32) -> Self;

    fn widened(self) -> f32;
}

impl Value for f32 {
    const STORED: Dtype = Dtype::F32;

    fn nearest(value: f32) -> Self {
        value
    }

    fn widened(self) -> f32 {
        self
    }
}

impl Value for bf16 {
    const STORED: Dtype = Dtype::BF16;

    fn nearest(value: f32) -> Self {
        Self::from_f32(value)
    }

    fn widened(self) -> f32 {
        self.to_f32()
    }
}

impl Value for f16 {
    const STORED: Dtype = Dtype::F16;

    fn nearest(value: f32) -> Self {
        Self::from_f32(value)
    }

    fn widened(self) -> f32 {
        self.to_f32()
    }
}
