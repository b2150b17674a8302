//! The extension trait of embedding tables.

use burn::backend::ops::ModuleOps;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};

/// Rows of a table and its gradient. Shapes as in [`embedding`](super::embedding()); `upstream` has that of the output.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu")),
    LibTorch: cfg(feature = "libtorch"),
    Autodiff
)]
#[allow(unused_variables)] // without a backend
pub(crate) trait EmbeddingOps: Backend {
    fn rows_of_table(table: FloatTensor<Self>, numbers: IntTensor<Self>) -> FloatTensor<Self> {
        <Self as ModuleOps<Self>>::embedding(table, numbers)
    }

    /// The gradient of the table.
    fn rows_of_table_backward(
        table: FloatTensor<Self>,
        numbers: IntTensor<Self>,
        upstream: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        <Self as ModuleOps<Self>>::embedding_backward(table, upstream, numbers)
    }
}

#[cfg(feature = "flex")]
impl EmbeddingOps for burn::backend::Flex {}

#[cfg(feature = "libtorch")]
impl EmbeddingOps for burn::backend::LibTorch {}
