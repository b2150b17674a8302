//! The rotation on LibTorch: four operations wherever the heads are, in f32 whatever their type.

use burn::backend::LibTorch;
use tch::Tensor;

use super::ops::RotaryOps;
use crate::libtorch::{TorchTensor, empty_like};

impl RotaryOps for LibTorch {
    fn fused_rotary(x: TorchTensor, cos: TorchTensor, sin: TorchTensor, back: bool) -> TorchTensor {
        let (x, cos, sin) = (x.tensor.contiguous(), cos.tensor, sin.tensor);
        let (width, rotated) = (last(&x), last(&cos));
        let out = empty_like(&x);
        let rest = |x: &Tensor| x.narrow(-1, rotated, width - rotated);
        if rotated < width {
            rest(&out).copy_(&rest(&x));
        }
        turn(&x.narrow(-1, 0, rotated), &out.narrow(-1, 0, rotated), &cos, &sin, back);
        TorchTensor::new(out)
    }
}

/// Writes x, turned, or turned `back`, to `out`, which may be x itself: both [..., R] with R side by side, cos and sin fit
/// them.
pub(crate) fn turn(x: &Tensor, out: &Tensor, cos: &Tensor, sin: &Tensor, back: bool) {
    let half = last(x) / 2;
    if x.numel() == 0 {
        return;
    }
    let [x, out, cos, sin] = [x, out, cos, sin].map(|tensor| tensor.unflatten(-1, [2, half])); // [..., 2, R/2]
    // A product of a lower type and f32 is f32, and so is what `addcmul` computes before it rounds to the type of `out`.
    let turned = x.flip([-2i64].as_slice()) * sin;
    let _ = turned.narrow(-2, if back { 1 } else { 0 }, 1).neg_();
    let _ = turned.addcmul_out(&out, &x, &cos);
}

fn last(x: &Tensor) -> i64 {
    x.size().last().copied().unwrap_or(1)
}
