//! What fusion must know of the results before they exist.

use burn::backend::fusion::custom::TensorSpec;
use burn::tensor::{DType, Shape};

/// The shape of x with the last dimension of y.
pub(super) fn with_last(x: &Shape, y: &Shape) -> Shape {
    let mut shape = x.clone();
    let last = shape.num_dims() - 1;
    shape[last] = y[y.num_dims() - 1];
    shape
}

/// One number of f32 a row.
pub(super) fn numbers_of_rows(rows: &TensorSpec) -> TensorSpec {
    let mut shape = rows.shape.clone();
    let last = shape.num_dims() - 1;
    shape[last] = 1;
    TensorSpec::new(shape, DType::F32)
}

/// The heads of one query side by side.
pub(super) fn of_one_query(q: &TensorSpec) -> TensorSpec {
    let [rows, length, heads, width] = q.shape.dims();
    TensorSpec::new(Shape::new([rows, length, heads * width]), q.dtype)
}

/// The gradients of queries, keys and values: all of the type of the products of queries.
pub(super) fn of_attention(q: &TensorSpec, k: &TensorSpec) -> (TensorSpec, TensorSpec, TensorSpec) {
    let of_keys = || TensorSpec::new(k.shape.clone(), q.dtype);
    (q.clone(), of_keys(), of_keys())
}

/// A number of f32 a column.
pub(super) fn numbers_of_columns(x: &TensorSpec) -> TensorSpec {
    TensorSpec::new(Shape::new([x.shape[x.shape.num_dims() - 1]]), DType::F32)
}

/// The gradient of a table of so many entries.
pub(super) fn of_entries(upstream: &TensorSpec, entries: usize) -> TensorSpec {
    let width = upstream.shape[upstream.shape.num_dims() - 1];
    TensorSpec::new(Shape::new([entries, width]), DType::F32)
}

/// Queries, keys and values of a projection, each by heads.
pub(super) fn of_heads(all: &TensorSpec, heads: usize) -> (TensorSpec, TensorSpec, TensorSpec) {
    let [rows, length, columns] = all.shape.dims();
    let part = || TensorSpec::new(Shape::new([rows, heads, length, columns / 3 / heads]), all.dtype);
    (part(), part(), part())
}

/// The projection that queries by heads are of.
pub(super) fn of_projection(q: &TensorSpec) -> TensorSpec {
    let [rows, heads, length, width] = q.shape.dims();
    TensorSpec::new(Shape::new([rows, length, 3 * heads * width]), q.dtype)
}
