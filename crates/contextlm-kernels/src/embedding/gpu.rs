//! Embedding tables on GPUs.

use burn::backend::ops::ModuleOps;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;

use super::ops::EmbeddingOps;
use crate::gpu::{GpuOps, signed};

impl EmbeddingOps for Cube {
    fn rows_of_table_backward(
        table: FloatTensor<Self>,
        numbers: IntTensor<Self>,
        upstream: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let empty = [table.shape(), upstream.shape()].iter().any(|shape| shape.num_elements() == 0);
        if upstream.dtype() != DType::F32 || empty {
            return Self::embedding_backward(table, upstream, numbers);
        }
        let [entries, _] = table.shape().dims();
        Self::gpu_embedding_backward(upstream, signed(numbers), entries)
    }
}
