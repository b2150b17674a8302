use clap::ValueEnum;
use contextlm_core::{ContextLm, ContextLmError};

use crate::dtype::Dtype;

/// `--quantize`.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Quantize {
    /// Weights of 8 bits, a scale for every 64 of them; on cpu
    Int8,
}

impl Quantize {
    /// As it is given on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
        }
    }

    /// The model with its weights in fewer bits, itself where none are asked for.
    pub(crate) fn apply(asked: Option<Self>, model: ContextLm, dtype: Dtype) -> Result<ContextLm, ContextLmError> {
        match (asked, dtype) {
            (None, _) => Ok(model),
            (Some(Self::Int8), Dtype::F32) => model.quantize_int8(),
            (Some(Self::Int8), dtype) => {
                let reason = format!("it starts from f32, not --dtype {}; leave that out", dtype.name());
                Err(ContextLmError::Quantize { reason })
            }
        }
    }
}
