//! Sums of all elements of a tensor, or of their squares, in parts: a cube for each, in one order.
//!
//! burn's sums are tuned at run time, and some of what they choose from adds in whatever order its cubes end.

use burn::backend::TensorMetadata;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::adamw::owned;
use super::rows::{Units, a_cube_a_row, begin, into_contiguous_rows, sum_of_units, vector_size};

/// Planes of a cube.
const PLANES: u32 = 8;

/// Elements of a part, of which a unit of a GPU has four vectors.
const PART: usize = 4096;

/// Parts of a tensor, at most: as many cubes as the multiprocessors of an H100 have at once.
const PARTS: usize = 1024;

/// Where the parts of a tensor's sum are among those of others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    /// The first of them.
    pub(crate) from: usize,
    /// How many.
    pub(crate) parts: usize,
}

/// Places one behind the other for tensors of so many elements.
pub(crate) fn places(elements: impl IntoIterator<Item = usize>) -> Vec<Place> {
    let place = |from: &mut usize, elements: usize| {
        let parts = elements.div_ceil(PART).min(PARTS);
        let place = Place { from: *from, parts };
        *from += parts;
        Some(place)
    };
    elements.into_iter().scan(0, place).collect()
}

#[cube(launch_unchecked)]
fn sums_kernel<N: Size>(
    x: &Tensor<Vector<f32, N>>,
    sums: &mut Tensor<f32>,
    vectors: usize,
    from: usize,
    parts: usize,
    #[comptime] squared: bool,
    #[comptime] slots: u32,
    #[comptime] by_planes: bool,
) {
    let part = CUBE_POS;
    if part >= parts {
        terminate!();
    }
    let mut sum = Vector::<f32, N>::new(0.0f32);
    let mut at = part * CUBE_DIM as usize + UNIT_POS as usize;
    while at < vectors {
        let value = x[at];
        if squared {
            sum += value * value;
        } else {
            sum += value;
        }
        at += parts * CUBE_DIM as usize;
    }
    let sum = sum_of_units(sum.vector_sum(), slots, by_planes);
    if UNIT_POS == 0 {
        sums[from + part] = sum;
    }
}

/// [`gpu_sums`](super::GpuOps::gpu_sums).
pub(super) fn sums(x: CubeTensor, sums: CubeTensor, place: Place, squared: bool) -> CubeTensor {
    let Place { from, parts } = place;
    if parts == 0 {
        return sums;
    }
    let (x, sums) = (into_contiguous_rows(x), owned(sums));
    let elements = x.shape().num_elements();
    let n = vector_size(4, &[elements, begin(&x)]);
    let (client, result) = (sums.client.clone(), sums.clone());
    let units = Units::of(&client, PLANES);
    // Every index is below the elements of x; the place is within the sums, which the caller has made for it.
    #[allow(unsafe_code)]
    unsafe {
        sums_kernel::launch_unchecked(
            &client,
            a_cube_a_row(parts),
            units.dim,
            n,
            x.into_tensor_arg(),
            sums.into_tensor_arg(),
            elements / n,
            from,
            parts,
            squared,
            units.slots,
            units.by_planes,
        );
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_side_by_side() {
        let found = places([1, 0, PART, PART + 1, usize::MAX, 5]);
        let from = [0, 1, 1, 2, 4, 4 + PARTS];
        let parts = [1, 0, 1, 2, PARTS, 1];
        assert_eq!(found, from.into_iter().zip(parts).map(|(from, parts)| Place { from, parts }).collect::<Vec<_>>());
        assert!(places([]).is_empty());
    }
}
