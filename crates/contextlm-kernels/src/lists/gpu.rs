//! Lists on GPUs: a kernel for every tensor, all of which write into one tensor.

use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};

use crate::gpu::{GpuOps, Place, places};

/// The L2 norm of all tensors, which are some, in f32 and on CubeCL, `[1]`. The same every time, bit by bit.
pub(super) fn l2_norm(tensors: &[Tensor<1>]) -> Option<Tensor<1>> {
    let mut sums = parts(tensors, true)?;
    while sums.dims() != [1] {
        sums = parts(&[sums], false)?;
    }
    Some(sums.sqrt())
}

/// Sums of the elements of all tensors or of their squares, in parts; `None` of nothing but empty tensors.
fn parts(tensors: &[Tensor<1>], squared: bool) -> Option<Tensor<1>> {
    let places = places(tensors.iter().map(|tensor| tensor.dims()[0]));
    let end = places.last().map(|place| place.from + place.parts).filter(|end| *end > 0)?;
    let sums = Tensor::<1>::empty([end], (&tensors[0].device(), DType::F32)).into_dispatch();
    let written = tensors.iter().zip(places).filter(|(_, Place { parts, .. })| *parts > 0);
    // Held by nobody else, they are written where they are.
    let add = |sums, (tensor, place): (&Tensor<1>, _)| {
        Dispatch::gpu_sums(tensor.clone().into_dispatch(), sums, place, squared)
    };
    Some(Tensor::from_dispatch(written.fold(sums, add)))
}
