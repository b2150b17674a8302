//! Rotary position embeddings.

mod backward;
#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
mod gpu;
#[cfg(feature = "libtorch")]
pub(crate) mod libtorch;
mod ops;

use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};
use ops::RotaryOps;

use crate::device::{on_cubecl, on_flex, on_libtorch};
use crate::fused;

/// Rotates the first R dimensions of every head, dimension i together with dimension i + R/2 ("rotate half", GPT-NeoX's
/// form of arXiv 2104.09864): `x cos + turned sin`, where `turned` is minus the second half, then the first one. The
/// others stay. The angles get no gradient.
///
/// # Shapes
/// - x: [B, T, H, Dh]
/// - cos, sin, f32: [B, T, 1, R], or [1, T, 1, R] where all rows agree; R even and at most Dh, the second half as the first
/// - returns [B, T, H, Dh]
///
/// # Panics
/// If the shapes do not fit together.
pub fn rotary(x: Tensor<4>, cos: Tensor<4>, sin: Tensor<4>) -> Tensor<4> {
    check(x.dims(), &cos, &sin);
    if !fused() || !has_fast_rotation(&x, &cos, &sin) {
        return composed(x, cos, sin);
    }
    let (x, cos, sin) = (x.into_dispatch(), cos.into_dispatch(), sin.into_dispatch());
    Tensor::from_dispatch(Dispatch::fused_rotary(x, cos, sin, false))
}

/// That angles fit heads of a shape [B, T, H, Dh].
pub(crate) fn check(shape: [usize; 4], cos: &Tensor<4>, sin: &Tensor<4>) {
    let ([rows, length, _, width], [angle_rows, angles, one, rotated]) = (shape, cos.dims());
    assert_eq!(cos.dims(), sin.dims(), "cos and sin differ in shape");
    let fits = angles == length && one == 1 && (angle_rows == 1 || angle_rows == rows);
    assert!(fits && rotated % 2 == 0 && rotated <= width, "angles {:?} do not fit {shape:?}", cos.dims());
}

/// Whether there is a fast body for these tensors.
pub(crate) fn has_fast_rotation<const D: usize>(x: &Tensor<D>, cos: &Tensor<4>, sin: &Tensor<4>) -> bool {
    let in_f32 = [cos, sin].iter().all(|angle| angle.dtype() == DType::F32);
    in_f32
        && match x.dtype() {
            DType::F32 if on_flex(x) => on_flex(cos) && on_flex(sin),
            DType::F32 | DType::BF16 | DType::F16 => {
                (on_libtorch(x) && on_libtorch(cos) && on_libtorch(sin))
                    || (on_cubecl(x) && on_cubecl(cos) && on_cubecl(sin))
            }
            _ => false,
        }
}

/// Of burn's own operations, in f32 whatever the type of x.
fn composed(x: Tensor<4>, cos: Tensor<4>, sin: Tensor<4>) -> Tensor<4> {
    let ([.., width], [.., rotated], dtype) = (x.dims(), cos.dims(), x.dtype());
    let cast = |x: Tensor<4>, dtype: DType| if x.dtype() == dtype { x } else { x.cast(dtype) };
    let turn = |x: Tensor<4>| {
        let (x, half) = (cast(x, DType::F32), rotated / 2);
        let (first, second) = (x.clone().narrow(3, 0, half), x.clone().narrow(3, half, half));
        let turned = Tensor::cat(vec![second.neg(), first], 3);
        cast(x * cos + turned * sin, dtype)
    };
    if rotated == width {
        return turn(x);
    }
    let rest = x.clone().narrow(3, rotated, width - rotated);
    Tensor::cat(vec![turn(x.narrow(3, 0, rotated)), rest], 3)
}
