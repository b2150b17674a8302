/// The type of values, in files or in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FloatType {
    /// 32 bits: what models are trained in.
    #[default]
    F32,
    /// The upper half of f32's bits, rounded to the nearest, ties to even.
    Bf16,
    /// IEEE's 16 bits, rounded to the nearest, ties to even; larger values become infinite.
    F16,
}

impl FloatType {
    /// Its name in configs: `float32`, `bfloat16`, `float16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
            Self::F16 => "float16",
        }
    }

    pub(crate) fn format_name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
        }
    }

    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }
}
