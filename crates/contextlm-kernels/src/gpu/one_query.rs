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

/// The widest head. Widths are multiples of 8, the longest vector of bf16 and f16.
const WIDEST: usize = 128;

/// The most vectors of a head, those of f32, each of which wants a unit of its own.
const VECTORS: usize = WIDEST / 4;

/// The most keys. A head's are read by one cube, run after run, and in products by many cubes: decoding with 512 to 576 keys was
/// faster on an H100 in bf16 with this kernel, with more than 1024 it was not measured.
const MOST: usize = 1024;

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
    let (lane, vector) = (unit / vectors, unit % vectors);
    let mut weights = Shared::<[f32]>::new_slice(units);
    let mut max = f32::new(LOWEST);
    let mut sum = 0.0f32;
    let mut mixed = Vector::<f32, N>::new(0.0f32);
    let mut first = 0;
    while first < keys {
        let key = first + unit;
        let mut score = f32::new(LOWEST);
        // 1 where the unit has a key.
        let mut there = 0.0f32;
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
            there = 1.0f32;
        }
        let (of_run, sum_of_run) = of_all_units(score, there, slots, by_planes);
        let larger_max = larger(max, of_run);
        weights[unit] = there * f32::exp(score - larger_max);
        sync_cube();
        let shrunk = f32::exp(max - larger_max);
        sum = sum * shrunk + sum_of_run * f32::exp(of_run - larger_max);
        mixed *= Vector::new(shrunk);
        max = larger_max;
        if lane < lanes {
            let mut at = lane;
            while at < units && first + at < keys {
                let value = Vector::<f32, N>::cast_from(v[v_from + (first + at) * of_v.entry + vector]);
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
    let mut units = Units::of(&factors[0].client, PLANES);
    if units.count() < VECTORS {
        units = Units::without_planes();
    }
    // With odd strides vectors are short, and a head may have more of them than there are units.
    if width / readable(&factors) > units.count() {
        factors = factors.map(into_contiguous);
    }
    let n = readable(&factors);
    let [of_q, of_k, of_v] = factors.each_ref().map(|x| {
        let [row, entry, head] = [0, 1, 2].map(|at| x.meta.strides()[at] / n);
        StridesLaunch::new(row, entry, head)
    });
    let ([q, k, v], bias) = (factors, Rows::of(bias));
    let out = new_like(&q, Shape::new([rows, 1, heads * width]), q.dtype);
    let (client, result, cubes, dtype) = (out.client.clone(), out.clone(), rows * heads, elem(q.dtype));
    let address = [&k, &v, &out, &bias.tensor]
        .iter()
        .fold(q.required_address_type(), |most, x| most.max(x.required_address_type()));
    let bias_stride = if bias.rows == 1 { 0 } else { bias.stride };
    // Every index is below the rows, heads, keys and the width of tensors whose shapes and types the caller has checked; there are at
    // least as many units as vectors of a head, as seen to above.
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
            units.count(),
            units.slots,
            units.by_planes,
            dtype,
        );
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_limits() {
        assert!([(8, 1), (24, 7), (128, 1024)].iter().all(|(width, keys)| has_kernel(*width, *keys)));
        assert!(
            [(4, 1), (20, 7), (136, 7), (0, 7), (8, 0), (8, 1025)]
                .iter()
                .all(|(width, keys)| !has_kernel(*width, *keys))
        );
    }
}
