//! What kernels over the rows of a matrix share.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::features::Plane;
use burn_cubecl::cubecl::ir::{ElemType, FloatKind, IntKind};
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

/// Below every logit and score, and its exp is 0 beside that of any.
pub(super) const LOWEST: f32 = -3.0e38;

/// Units of a cube without planes.
const UNITS: u32 = 32;

/// How the units of a cube add up.
pub(super) struct Units {
    pub(super) dim: CubeDim,
    /// Numbers that meet in shared memory: of planes, or of all units.
    pub(super) slots: u32,
    /// Whether planes (warps, subgroups) add up among themselves first. Without it, as on software devices, cubes are small.
    pub(super) by_planes: bool,
}

impl Units {
    /// So many planes where the device has planes of one size.
    pub(super) fn of(client: &Client, planes: u32) -> Self {
        let (hardware, features) = (&client.properties().hardware, &client.properties().features);
        let size = hardware.plane_size_max;
        let one_size = hardware.plane_size_min == size && size > 1;
        match one_size && features.plane.contains(Plane::Ops) {
            true => Self { dim: CubeDim::new_1d(size * planes), slots: planes, by_planes: true },
            false => Self::without_planes(),
        }
    }

    pub(super) fn without_planes() -> Self {
        Self { dim: CubeDim::new_1d(UNITS), slots: UNITS, by_planes: false }
    }

    pub(super) fn count(&self) -> usize {
        self.dim.num_elems() as usize
    }
}

/// A tensor seen as rows, each without gaps: how many, how long, and from one to the next, in elements.
pub(super) struct Rows {
    pub(super) tensor: CubeTensor,
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) stride: usize,
}

impl Rows {
    /// The tensor as it lies, or a copy without gaps where its rows have no common distance.
    pub(super) fn of(tensor: CubeTensor) -> Self {
        match distance(tensor.meta.shape(), tensor.meta.strides()) {
            Some(stride) => Self::new(tensor, stride),
            None => {
                let tensor = into_contiguous_rows(tensor);
                let width = tensor.shape().iter().last().copied().unwrap_or(1);
                Self::new(tensor, width)
            }
        }
    }

    fn new(tensor: CubeTensor, stride: usize) -> Self {
        let shape = tensor.shape();
        let width = shape[shape.num_dims() - 1];
        let rows = shape.num_elements() / width.max(1);
        Self { tensor, rows, width, stride }
    }
}

/// From one row to the next, where that is the same everywhere and rows have no gaps.
fn distance(shape: &[usize], strides: &[usize]) -> Option<usize> {
    let last = shape.len() - 1;
    if strides[last] != 1 && shape[last] != 1 {
        return None;
    }
    // Dimensions of a single entry may have any stride.
    let mut outer = (0..last).rev().filter(|at| shape[*at] != 1);
    let Some(inner) = outer.next() else { return Some(shape[last]) };
    let mut expected = strides[inner] * shape[inner];
    let even = outer.all(|at| {
        let fits = strides[at] == expected;
        expected *= shape[at];
        fits
    });
    even.then(|| strides[inner])
}

/// Rows without gaps, not even at their ends.
pub(super) fn into_contiguous_rows(tensor: CubeTensor) -> CubeTensor {
    let (shape, strides) = (tensor.meta.shape(), tensor.meta.strides());
    let mut expected = 1;
    let packed = (0..shape.num_dims()).rev().all(|at| {
        let fits = shape[at] == 1 || strides[at] == expected;
        expected *= shape[at];
        fits
    });
    if packed {
        return tensor;
    }
    let tensor = into_contiguous(tensor);
    let elements = tensor.shape().num_elements();
    let shape = tensor.shape();
    // Rows may have been given gaps; a flat tensor has none.
    match tensor.meta.strides().first() {
        Some(first) if shape.num_dims() > 1 && *first * shape[0] != elements => {
            let flat = burn_cubecl::ops::reshape(tensor, Shape::new([elements]));
            burn_cubecl::ops::reshape(flat, shape)
        }
        _ => tensor,
    }
}

/// The tensor with the elements of its last dimension side by side.
pub(super) fn with_whole_rows(tensor: CubeTensor) -> CubeTensor {
    match tensor.meta.strides().iter().last() {
        Some(1) | None => tensor,
        Some(_) => into_contiguous(tensor),
    }
}

/// Where a tensor begins in its memory, in elements.
pub(super) fn begin(tensor: &CubeTensor) -> usize {
    tensor.handle.offset_start.unwrap_or(0) as usize / tensor.dtype.size()
}

/// A new tensor without gaps.
pub(super) fn new_like(tensor: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    let (client, device) = (tensor.client.clone(), tensor.device.clone());
    burn_cubecl::ops::numeric::empty_device_contiguous_dtype(client, device, shape, dtype)
}

/// The type as CubeCL names it.
pub(super) fn elem(dtype: DType) -> ElemType {
    match dtype {
        DType::F64 => ElemType::Float(FloatKind::F64),
        DType::BF16 => ElemType::Float(FloatKind::BF16),
        DType::F16 => ElemType::Float(FloatKind::F16),
        DType::I64 => ElemType::Int(IntKind::I64),
        DType::I32 => ElemType::Int(IntKind::I32),
        DType::F32 | DType::Flex32 => ElemType::Float(FloatKind::F32),
        other => unreachable!("kernels of rows are not asked for {other:?}"),
    }
}

/// The most elements, up to 16 bytes of `size` bytes each, that divide all lengths.
pub(super) fn vector_size(size: usize, lengths: &[usize]) -> usize {
    let most = 16 / size;
    [8, 4, 2].into_iter().find(|n| *n <= most && lengths.iter().all(|length| length.is_multiple_of(*n))).unwrap_or(1)
}

/// The most cubes in the second dimension of a grid, and on some devices in the first.
pub(super) const GRID: usize = 65535;

/// One cube a row, in as many dimensions as the device wants.
pub(super) fn a_cube_a_row(rows: usize) -> CubeCount {
    let y = rows.div_ceil(GRID).max(1);
    CubeCount::Static(rows.div_ceil(y) as u32, y as u32, 1)
}

/// In how many runs so many rows are cut, of so many at most.
pub(super) fn runs(rows: usize, most: usize) -> usize {
    rows.div_ceil(rows.div_ceil(most).max(1)).max(1)
}

/// The larger of two numbers.
#[cube]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    select(a > b, a, b)
}

/// The largest of all units' numbers and the sum of all units' sums, each sum being of exps below that unit's number.
#[cube]
pub(super) fn of_all_units(max: f32, sum: f32, #[comptime] slots: u32, #[comptime] by_planes: bool) -> (f32, f32) {
    let mut maxima = Shared::<[f32]>::new_slice(slots as usize);
    let mut sums = Shared::<[f32]>::new_slice(slots as usize);
    if by_planes {
        let of_plane = plane_max(max);
        let sum = plane_sum(sum * f32::exp(max - of_plane));
        if UNIT_POS_PLANE == 0 {
            maxima[(UNIT_POS / PLANE_DIM) as usize] = of_plane;
            sums[(UNIT_POS / PLANE_DIM) as usize] = sum;
        }
    } else {
        maxima[UNIT_POS as usize] = max;
        sums[UNIT_POS as usize] = sum;
    }
    sync_cube();
    let mut all_max = maxima[0];
    #[unroll]
    for slot in 1..slots as usize {
        all_max = larger(all_max, maxima[slot]);
    }
    let mut all_sum = 0.0f32;
    #[unroll]
    for slot in 0..slots as usize {
        all_sum += sums[slot] * f32::exp(maxima[slot] - all_max);
    }
    (all_max, all_sum)
}

/// The sum of the numbers of all units of a cube. A single plane needs no shared memory for it.
#[cube]
pub(super) fn sum_of_units(value: f32, #[comptime] slots: u32, #[comptime] by_planes: bool) -> f32 {
    let mut sum = value;
    if by_planes {
        sum = plane_sum(value);
    }
    if comptime!(slots > 1) {
        let mut values = Shared::<[f32]>::new_slice(slots as usize);
        // Nobody still reads what was there before.
        sync_cube();
        if by_planes {
            if UNIT_POS_PLANE == 0 {
                values[(UNIT_POS / PLANE_DIM) as usize] = sum;
            }
        } else {
            values[UNIT_POS as usize] = sum;
        }
        sync_cube();
        sum = 0.0f32;
        #[unroll]
        for slot in 0..slots as usize {
            sum += values[slot];
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_of_rows() {
        // Whole, with gaps between rows, every second row, one row, and the same row again and again.
        for (shape, strides, expected) in [
            (&[2, 3, 4][..], &[12, 4, 1][..], 4),
            (&[2, 3, 4], &[24, 8, 1], 8),
            (&[3, 4], &[8, 1], 8),
            (&[1, 1, 4], &[77, 99, 1], 4),
            (&[4], &[1], 4),
            (&[2, 3, 4], &[0, 0, 1], 0),
            (&[2, 1, 4], &[4, 99, 1], 4),
            (&[2, 3, 1], &[3, 1, 7], 1),
        ] {
            assert_eq!(distance(shape, strides), Some(expected), "{shape:?}, {strides:?}");
        }
        // Parts of longer rows of rows, also with a dimension of one between them, and rows that do not lie together.
        for (shape, strides) in
            [(&[2, 3, 4][..], &[16, 4, 1][..]), (&[2, 1, 3, 4], &[16, 16, 4, 1]), (&[4, 3, 2], &[6, 1, 3])]
        {
            assert_eq!(distance(shape, strides), None, "{shape:?}, {strides:?}");
        }
    }
}
