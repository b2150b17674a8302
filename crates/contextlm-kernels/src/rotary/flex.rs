//! The rotation on flex: one pass, from wherever the heads are.

use burn::backend::{Flex, TensorMetadata};

use super::ops::RotaryOps;
use crate::flex::heads::{Heads, heads, with_whole_heads};
use crate::flex::tensor::{FlexTensor, contiguous, tensor, values};
use crate::slices::parallel::{blocks, rows_of_block};

impl RotaryOps for Flex {
    fn fused_rotary(x: FlexTensor, cos: FlexTensor, sin: FlexTensor, back: bool) -> FlexTensor {
        let (shape, x) = (x.shape(), with_whole_heads(x));
        let angles = Angles { cos: contiguous(cos), sin: contiguous(sin) };
        tensor(rotate(heads(&x), shape.dims(), &angles, back), shape)
    }
}

/// Contiguous cosines and sines, [B or 1, T, 1, R].
pub(crate) struct Angles {
    cos: FlexTensor,
    sin: FlexTensor,
}

impl Angles {
    /// `None` if there is nothing to be turned.
    pub(crate) fn new(cos: FlexTensor, sin: FlexTensor) -> Option<Self> {
        let any = cos.shape().num_elements() > 0;
        any.then(|| Self { cos: contiguous(cos), sin: contiguous(sin) })
    }
}

/// [B, T, H, Dh], turned, or turned `back`.
pub(crate) fn rotate(x: Heads, shape: [usize; 4], angles: &Angles, back: bool) -> Vec<f32> {
    let [rows, length, count, width] = shape;
    let [angle_rows, _, _, rotated] = angles.cos.shape().dims();
    let (cos, sin) = (values(&angles.cos), values(&angles.sin));
    let (half, sign) = (rotated / 2, if back { -1.0 } else { 1.0 });
    let mut out = vec![0.0; rows * length * count * width];
    if out.is_empty() {
        return out;
    }
    let entries = rows_of_block(count * width);
    blocks(
        &mut out,
        entries * count * width,
        #[inline(always)]
        |number, out| {
            for (index, out) in out.chunks_exact_mut(count * width).enumerate() {
                let place = number * entries + index;
                let (row, entry) = (place / length, place % length);
                let angle = if angle_rows == 1 { entry } else { place } * rotated;
                let (cos, sin) = (&cos[angle..angle + half], &sin[angle..angle + half]);
                for (head, out) in out.chunks_exact_mut(width).enumerate() {
                    let x = x.vector(row, head, entry, width);
                    let (first, second) = (&x[..half], &x[half..rotated]);
                    for (i, out) in out[..half].iter_mut().enumerate() {
                        *out = first[i] * cos[i] - second[i] * (sign * sin[i]);
                    }
                    for (i, out) in out[half..rotated].iter_mut().enumerate() {
                        *out = second[i] * cos[i] + first[i] * (sign * sin[i]);
                    }
                    out[rotated..].copy_from_slice(&x[rotated..]);
                }
            }
        },
    );
    out
}
