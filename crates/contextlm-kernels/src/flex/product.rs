//! Matrix products by the crate that burn-flex has for its own, with sums and parts of larger matrices as results.

/// A matrix in a slice.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` rows of `columns` elements side by side, one row `stride` elements after the other.
    ///
    /// # Panics
    /// If the slice is too short.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(
            span(rows, columns, stride) <= values.len(),
            "a matrix [{rows}, {columns}] of {} elements",
            values.len()
        );
        Self { values, rows, columns, row_stride: stride, column_stride: 1 }
    }

    pub(crate) fn transposed(self) -> Self {
        let Self { values, rows, columns, row_stride, column_stride } = self;
        Self { values, rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }
}

/// Elements from the first of a matrix to behind its last.
fn span(rows: usize, columns: usize, stride: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * stride + columns }
}

/// `out = scale * a b`, or with `add` `out += scale * a b`, on this thread; out has a row every `stride` elements.
///
/// # Panics
/// If the sizes do not fit together.
pub(crate) fn product(out: &mut [f32], stride: usize, a: Matrix, b: Matrix, scale: f32, add: bool) {
    multiply(out, stride, a, b, scale, add, gemm::Parallelism::None);
}

/// [`product`] on all threads.
pub(crate) fn large_product(out: &mut [f32], stride: usize, a: Matrix, b: Matrix, scale: f32, add: bool) {
    multiply(out, stride, a, b, scale, add, gemm::Parallelism::Rayon(0));
}

fn multiply(
    out: &mut [f32],
    stride: usize,
    a: Matrix,
    b: Matrix,
    scale: f32,
    add: bool,
    parallelism: gemm::Parallelism,
) {
    let (rows, inner, columns) = (a.rows, a.columns, b.columns);
    assert_eq!(inner, b.rows, "the product of [{rows}, {inner}] and [{}, {columns}]", b.rows);
    assert!(
        span(rows, columns, stride) <= out.len() && columns <= stride,
        "the product [{rows}, {columns}] does not fit"
    );
    let stride_of = |stride: usize| stride as isize;
    // SAFETY: `gemm` reads a[i, l] and b[l, j] and writes out[i, j] for i < rows, l < inner, j < columns, at the strides
    // given. `Matrix::new`, which transposing does not change, and the assertion above have checked that the last of
    // them are inside their slices; the borrow of `out` is unique; all are initialised f32.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            stride_of(stride),
            add,
            a.values.as_ptr(),
            stride_of(a.column_stride),
            stride_of(a.row_stride),
            b.values.as_ptr(),
            stride_of(b.column_stride),
            stride_of(b.row_stride),
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}
