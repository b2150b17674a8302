//! Lists of tensors, for what is done to all gradients of a model. On GPUs every launch costs as much as the work on a small
//! tensor: on LibTorch's it is a few launches for all, on CubeCL's one for each.

#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
mod gpu;
#[cfg(feature = "libtorch")]
mod libtorch;

use burn::tensor::{DType, Tensor};

use crate::device::{on_cubecl, on_libtorch_cuda};
use crate::fused;

/// Whether a list is the faster way for tensors like this one: in f32 on GPUs, and not differentiated. Elsewhere [`l2_norm`]
/// and [`scale`] are burn's operations one after the other.
pub fn listed<const D: usize>(tensor: &Tensor<D>) -> bool {
    let plain = tensor.dtype() == DType::F32 && !tensor.device().is_autodiff();
    fused() && plain && (on_libtorch_cuda(tensor) || on_cubecl(tensor))
}

/// The L2 norm of all tensors as one vector; `None` without tensors.
///
/// # Shapes
/// `[N]`, each of its own, to `[1]`
///
/// # Panics
/// If the tensors are on different devices.
pub fn l2_norm(tensors: &[Tensor<1>]) -> Option<Tensor<1>> {
    #[cfg(feature = "libtorch")]
    if all_listed(tensors, on_libtorch_cuda)
        && let Some(norm) = libtorch::l2_norm(tensors)
    {
        return Some(norm);
    }
    #[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
    if all_listed(tensors, on_cubecl)
        && let Some(norm) = gpu::l2_norm(tensors)
    {
        return Some(norm);
    }
    let squares: Vec<_> = tensors.iter().map(|tensor| tensor.clone().square().sum()).collect();
    (!squares.is_empty()).then(|| Tensor::cat(squares, 0).sum().sqrt())
}

/// All tensors times a number, in place where nobody else holds them.
///
/// # Shapes
/// `[N]`, each of its own, to the same
pub fn scale(tensors: Vec<Tensor<1>>, factor: f64) -> Vec<Tensor<1>> {
    #[cfg(feature = "libtorch")]
    if all_listed(&tensors, on_libtorch_cuda) {
        return libtorch::scale(tensors, factor);
    }
    tensors.into_iter().map(|tensor| tensor.mul_scalar(factor)).collect()
}

/// Whether there are tensors, all of them for a list and on one kind of device.
#[cfg(any(feature = "libtorch", feature = "wgpu", feature = "cuda", feature = "cpu"))]
fn all_listed(tensors: &[Tensor<1>], on: fn(&Tensor<1>) -> bool) -> bool {
    !tensors.is_empty() && tensors.iter().all(|tensor| listed(tensor) && on(tensor))
}
