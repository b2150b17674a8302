//! One step of AdamW for one tensor.

#[cfg(any(feature = "flex", feature = "libtorch", feature = "wgpu", feature = "cuda", feature = "cpu"))]
mod factors;
#[cfg(feature = "flex")]
mod flex;
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
mod gpu;
#[cfg(feature = "libtorch")]
mod libtorch;
#[cfg(feature = "libtorch")]
mod libtorch_cuda;
mod ops;
#[cfg(any(feature = "flex", feature = "libtorch"))]
mod update;

use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
pub(crate) use factors::Factors;
use ops::AdamWOps;

use crate::device::{on_cubecl, on_flex, on_libtorch};
use crate::fused;

/// The numbers of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// Learning rate.
    pub lr: f64,
    /// Of the first moment.
    pub beta_1: f32,
    /// Of the second moment.
    pub beta_2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Number of this step, from 1.
    pub time: usize,
}

/// A parameter and its moments after a step of AdamW (arXiv 1711.05101), in one pass and in the memory that they are in.
/// `None`, with nothing done, where there is no fast body for these tensors: not in f32, or not all on flex, LibTorch or
/// GPUs. Steps of many tensors belong into [`adamw_together`].
///
/// `m = beta_1 m + (1 - beta_1) g`, `v = beta_2 v + (1 - beta_2) g^2`, both divided by 1 - beta^time, then
/// `x (1 - lr weight_decay) - lr m / (sqrt(v) + eps)`.
///
/// # Shapes
/// x, gradient, and the moments m and v: any, all the same
pub fn adamw<const D: usize>(
    x: &mut Tensor<D>,
    gradient: Tensor<D>,
    moments: [&mut Tensor<D>; 2],
    step: AdamWStep,
) -> Option<()> {
    let [m, v] = moments;
    let tensors = [&*x, &gradient, &*m, &*v];
    let kernel = tensors.iter().all(|tensor| tensor.dtype() == DType::F32)
        && (tensors.iter().all(|tensor| on_flex(tensor))
            || tensors.iter().all(|tensor| on_libtorch(tensor))
            || tensors.iter().all(|tensor| on_cubecl(tensor)));
    let same = [gradient.dims(), m.dims(), v.dims()].iter().all(|dims| *dims == x.dims());
    if !fused() || !kernel || !same || x.device().is_autodiff() {
        return None;
    }
    let device = x.device();
    // Out of their places, so that nobody else holds them and they are changed where they are.
    let nothing = Tensor::empty([1; D], &device);
    let taken = [&mut *x, &mut *m, &mut *v].map(|tensor| core::mem::replace(tensor, nothing.clone()));
    let [of_x, of_m, of_v] = taken.map(Tensor::into_dispatch);
    let (of_x, of_m, of_v) = Dispatch::fused_adamw(of_x, gradient.into_dispatch(), of_m, of_v, step);
    (*x, *m, *v) = (Tensor::from_dispatch(of_x), Tensor::from_dispatch(of_m), Tensor::from_dispatch(of_v));
    Some(())
}

/// Runs `work` so that its [`adamw`]s may be made together at its end: on LibTorch's GPUs, where a model has many small tensors
/// and every launch costs as much as one of them, a few launches for all. Elsewhere each is made when it is asked for.
///
/// What [`adamw`] gives within `work` is not to be read or written there.
pub fn adamw_together<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(feature = "libtorch")]
    return libtorch_cuda::together(work);
    #[cfg(not(feature = "libtorch"))]
    work()
}
