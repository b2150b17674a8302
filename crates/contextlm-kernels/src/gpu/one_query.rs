//! Attention of one query a row, which is what decoding asks for: scores, softmax and the sum of the values in one kernel, a cube
//! for every head. As products and a softmax they would be three, and copies of keys and values that several heads share.

use burn::backend::TensorMetadata;
use burn::tensor::Shape;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::rows::{
    LOWEST, Rows, Units, a_cube_a_row, begin, elem, larger, new_like, of_all_units, vector_size, with_whole_rows,
};

/// Planes of a cube.
const PLANES: u32 = 8;

/// The widest head: of 32 vectors of f32, one for every unit of the smallest cube. Widths are multiples of the longest vector's 8.
const WIDEST: usize = 128;

/// The most keys: they are read one run after the other, and as products by many cubes.
const MOST: usize = 4096;

/// Whether there is a kernel for heads of such a width and so many keys.
pub(crate) fn has_kernel(width: usize, keys: usize) -> bool {
    (8..=WIDEST).contains(&width) && width.is_multiple_of(8) && (1..=MOST).contains(&keys)
}

/// Strides of queries, keys or values, in vectors.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Strides {
    row: usize,
    entry: usize,
    head: usize,
}

/// Keys come in runs, one for every unit. In a run each unit makes the score of its key; then `lanes` groups of units add up
/// values, each those of every `lanes`th key, and each unit one vector of a head's width.
#[cube(launch_unchecked, address_type = "dynamic")]
fn one_query_kernel<E: Float, N: Size>(
    q: &Tensor<Vector<E, N>>,
    k: &Tensor<Vector<E, N>>,
    v: &Tensor<Vector<E, N>>,
    bias: &Tensor<f32>,
    out: &mut Tensor<Vector<E, N>>,
    of_q: Strides,
    of_k: Strides,
    of_v: Strides,
    bias_stride: usize,
    scale: f32,
    cubes: usize,
    heads: usize,
    sharing: usize,
    keys: usize,
    #[comptime] vectors: usize,
    #[comptime] units: usize,
    #[comptime] slots: u32,
    #[comptime] by_planes: bool,
    #[define(E)] _dtype: ElemType,
) {
    if CUBE_POS >= cubes {
        terminate!();
    }
    let (row, head, unit) = (CUBE_POS / heads, CUBE_POS % heads, UNIT_POS as usize);
    let q_from = row * of_q.row + head * of_q.head;
    let k_from = row * of_k.row + (head / sharing) * of_k.head;
    let v_from = row * of_v.row + (head / sharing) * of_v.head;
    let lanes = comptime!(units / vectors);
    let (lane, part) = (unit / vectors, unit % vectors);
    let mut weights = Shared::<[f32]>::new_slice(units);
    let mut max = f32::new(LOWEST);
    let mut sum = 0.0f32;
    let mut mixed = Vector::<f32, N>::new(0.0f32);
    let mut first = 0;
    while first < keys {
        let key = first + unit;
        let mut score = f32::new(LOWEST);
        let mut one = 0.0f32;
        if key < keys {
            let mut product = 0.0f32;
            for at in 0..vectors {
                let of_key = Vector::<f32, N>::cast_from(k[k_from + key * of_k.entry + at]);
                let products = Vector::<f32, N>::cast_from(q[q_from + at]) * of_key;
                #[unroll]
                for i in 0..products.vector_size() {
                    product += products.extract(i);
                }
            }
            score = product * scale + bias[row * bias_stride + key];
            one = 1.0f32;
        }
        let (of_run, sum_of_run) = of_all_units(score, one, slots, by_planes);
        let larger_max = larger(max, of_run);
        weights[unit] = one * f32::exp(score - larger_max);
        sync_cube();
        let shrunk = f32::exp(max - larger_max);
        sum = sum * shrunk + sum_of_run * f32::exp(of_run - larger_max);
        mixed *= Vector::new(shrunk);
        max = larger_max;
        if lane < lanes {
            let mut at = lane;
            while at < units && first + at < keys {
                let value = Vector::<f32, N>::cast_from(v[v_from + (first + at) * of_v.entry + part]);
                mixed += Vector::new(weights[at]) * value;
                at += lanes;
            }
        }
        first += units;
        // Nobody still reads the weights.
        sync_cube();
    }
    let mut parts = Shared::<[Vector<f32, N>]>::new_slice(units);
    parts[unit] = mixed;
    sync_cube();
    if unit < vectors {
        for lane in 1..lanes {
            mixed += parts[lane * vectors + unit];
        }
        out[CUBE_POS * vectors + unit] = Vector::cast_from(mixed / Vector::new(sum));
    }
}

/// How many elements of a head are read at once.
fn readable(factors: &[CubeTensor; 3]) -> usize {
    let of_each =
        factors.iter().flat_map(|x| x.meta.strides()[..3].iter().copied().chain([x.meta.shape()[3], begin(x)]));
    vector_size(factors[0].dtype.size(), &of_each.collect::<Vec<_>>())
}

/// [`gpu_one_query`](super::GpuOps::gpu_one_query).
pub(super) fn attend([q, k, v]: [CubeTensor; 3], bias: CubeTensor, scale: f32) -> CubeTensor {
    let ([rows, _, heads, width], [_, keys, kv_heads, _]) = (q.shape().dims(), k.shape().dims());
    let mut factors = [q, k, v].map(with_whole_rows);
    let (units, bias) = (Units::of(&factors[0].client, PLANES), Rows::of(bias));
    let count = units.dim.num_elems() as usize;
    if width / readable(&factors) > count {
        factors = factors.map(into_contiguous);
    }
    let n = readable(&factors);
    let [of_q, of_k, of_v] = factors.each_ref().map(|x| {
        let [row, entry, head] = [0, 1, 2].map(|at| x.meta.strides()[at] / n);
        StridesLaunch::new(row, entry, head)
    });
    let [q, k, v] = factors;
    let out = new_like(&q, Shape::new([rows, 1, heads * width]), q.dtype);
    let (client, result, cubes, dtype) = (out.client.clone(), out.clone(), rows * heads, elem(q.dtype));
    let address = k.required_address_type().max(v.required_address_type());
    let bias_stride = if bias.rows == 1 { 0 } else { bias.stride };
    // Every index is below the rows, heads, keys and the width of tensors whose shapes the caller has checked; there are at least as
    // many units as vectors of a head, by WIDEST.
    #[allow(unsafe_code)]
    unsafe {
        one_query_kernel::launch_unchecked(
            &client,
            a_cube_a_row(cubes),
            units.dim,
            address,
            n,
            q.into_tensor_arg(),
            k.into_tensor_arg(),
            v.into_tensor_arg(),
            bias.tensor.into_tensor_arg(),
            out.into_tensor_arg(),
            of_q,
            of_k,
            of_v,
            bias_stride,
            scale,
            cubes,
            heads,
            heads / kv_heads,
            keys,
            width / n,
            count,
            units.slots,
            units.by_planes,
            dtype,
        );
    }
    result
}
