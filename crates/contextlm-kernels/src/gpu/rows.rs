//! What kernels over the rows of a matrix share.

use burn::backend::TensorMetadata;
use burn::tensor::Shape;
use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::features::Plane;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

/// Whether a device has what the kernels need: planes (warps, subgroups) of one size that add up among themselves.
pub(crate) fn has_row_kernels(device: &CubeDevice, what: &str) -> bool {
    // TRIAL: off by name.
    if std::env::var("CONTEXTLM_GPU_OFF").is_ok_and(|off| off.split(',').any(|name| name == what)) {
        return false;
    }
    let client = device.client();
    let (hardware, features) = (&client.properties().hardware, &client.properties().features);
    let one_size = hardware.plane_size_min == hardware.plane_size_max && hardware.plane_size_max > 1;
    one_size && features.plane.contains(Plane::Ops)
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
        match Self::as_it_lies(&tensor) {
            Some(stride) => Self::new(tensor, stride),
            None => {
                let tensor = into_contiguous(tensor);
                match Self::as_it_lies(&tensor) {
                    Some(stride) => Self::new(tensor, stride),
                    None => {
                        let width = tensor.shape().iter().last().copied().unwrap_or(1);
                        Self::new(tensor, width)
                    }
                }
            }
        }
    }

    fn new(tensor: CubeTensor, stride: usize) -> Self {
        let shape = tensor.shape();
        let width = shape[shape.num_dims() - 1];
        let rows = shape.num_elements() / width.max(1);
        Self { tensor, rows, width, stride }
    }

    fn as_it_lies(tensor: &CubeTensor) -> Option<usize> {
        let (shape, strides) = (tensor.meta.shape(), tensor.meta.strides());
        let last = shape.num_dims() - 1;
        if strides[last] != 1 && shape[last] != 1 {
            return None;
        }
        if last == 0 {
            return Some(shape[0]);
        }
        let even = (0..last - 1).all(|at| shape[at] == 1 || strides[at] == strides[at + 1] * shape[at + 1]);
        even.then(|| strides[last - 1])
    }
}

/// A new tensor without gaps.
pub(super) fn new_like(tensor: &CubeTensor, shape: Shape, dtype: burn::tensor::DType) -> CubeTensor {
    let (client, device) = (tensor.client.clone(), tensor.device.clone());
    burn_cubecl::ops::numeric::empty_device_contiguous_dtype(client, device, shape, dtype)
}

/// The most elements, up to 16 bytes of `size` bytes each, that divide all lengths.
pub(super) fn vector_size(size: usize, lengths: &[usize]) -> usize {
    let most = 16 / size;
    [8, 4, 2].into_iter().find(|n| *n <= most && lengths.iter().all(|length| length.is_multiple_of(*n))).unwrap_or(1)
}

/// One cube a row, in as many dimensions as the device wants.
pub(super) fn a_cube_a_row(rows: usize) -> CubeCount {
    let most = 65535;
    let y = rows.div_ceil(most).max(1);
    CubeCount::Static(rows.div_ceil(y) as u32, y as u32, 1)
}

/// Units of a cube: `planes` planes.
pub(super) fn planes_of(client: &Client, planes: u32) -> CubeDim {
    CubeDim::new_1d(client.properties().hardware.plane_size_max * planes)
}

/// The larger of two numbers.
#[cube]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    select(a > b, a, b)
}

/// The largest of all units' numbers and the sum of all units' sums, each sum being of exps below that unit's number.
#[cube]
pub(super) fn of_all_units(max: f32, sum: f32, #[comptime] planes: u32) -> (f32, f32) {
    let plane_max = plane_max(max);
    let plane_sum = plane_sum(sum * f32::exp(max - plane_max));
    let mut maxima = Shared::<[f32]>::new_slice(planes as usize);
    let mut sums = Shared::<[f32]>::new_slice(planes as usize);
    if UNIT_POS_PLANE == 0 {
        maxima[(UNIT_POS / PLANE_DIM) as usize] = plane_max;
        sums[(UNIT_POS / PLANE_DIM) as usize] = plane_sum;
    }
    sync_cube();
    let mut all_max = maxima[0];
    #[unroll]
    for plane in 1..planes as usize {
        all_max = larger(all_max, maxima[plane]);
    }
    let mut all_sum = 0.0f32;
    #[unroll]
    for plane in 0..planes as usize {
        all_sum += sums[plane] * f32::exp(maxima[plane] - all_max);
    }
    (all_max, all_sum)
}
