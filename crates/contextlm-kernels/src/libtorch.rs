//! What fast bodies on LibTorch share: its tensors on the CPU as slices, and its tape for a single operation.

pub(crate) mod script;

use burn::backend::LibTorch;
use burn::backend::tensor::FloatTensor;
use tch::{Device, Kind, Tensor};

pub(crate) type TorchTensor = FloatTensor<LibTorch>;

/// Whether all are f32 on the CPU: what [`values`] gives the elements of.
pub(crate) fn all_cpu_f32<const N: usize>(tensors: [&TorchTensor; N]) -> bool {
    tensors.iter().all(|tensor| tensor.tensor.device() == Device::Cpu && tensor.tensor.kind() == Kind::Float)
}

/// Whether all are of one type.
pub(crate) fn one_kind<const N: usize>(tensors: [&TorchTensor; N]) -> bool {
    tensors.iter().all(|tensor| tensor.tensor.kind() == tensors[0].tensor.kind())
}

/// A tensor that nobody else sees, its elements side by side: itself where it is that already.
pub(crate) fn owned(x: TorchTensor) -> TorchTensor {
    if x.can_mut() && x.tensor.is_contiguous() { x } else { TorchTensor::new(x.tensor.contiguous().copy()) }
}

/// A new contiguous tensor of the shape and type of a contiguous one, to be written to.
pub(crate) fn empty_like(x: &Tensor) -> Tensor {
    Tensor::empty(x.size(), (x.kind(), x.device()))
}

/// The gradients of `inputs`, by LibTorch's own tape: for operations whose backward tch does not export. `operation` is
/// computed again for it.
pub(crate) fn gradients_by_tape<const N: usize>(
    inputs: [&Tensor; N],
    operation: impl FnOnce(&[Tensor; N]) -> Tensor,
    upstream: &Tensor,
) -> [Tensor; N] {
    let leaves = inputs.map(|input| input.detach().set_requires_grad(true));
    // The tape starts from ones: the product makes the upstream gradient of them.
    let gradients = tch::with_grad(|| Tensor::run_backward(&[operation(&leaves) * upstream], &leaves, false, false));
    let mut gradients = gradients.into_iter();
    leaves.map(|leaf| gradients.next().unwrap_or(leaf))
}

/// The elements of a contiguous f32 tensor on the CPU; of another one nothing.
pub(crate) fn values(tensor: &Tensor) -> &[f32] {
    let count = count(tensor);
    if count == 0 {
        return &[];
    }
    // SAFETY: a contiguous tensor of f32 on the CPU has `count` initialised elements side by side from its pointer on. They
    // live as long as its storage, which the tensor that is borrowed keeps.
    #[allow(unsafe_code)]
    unsafe {
        core::slice::from_raw_parts(tensor.data_ptr() as *const f32, count)
    }
}

/// The same to be changed. The tensor must be the only one on its storage, as burn's `can_mut` tells or because it is new.
pub(crate) fn values_mut(tensor: &mut Tensor) -> &mut [f32] {
    let count = count(tensor);
    if count == 0 {
        return &mut [];
    }
    // SAFETY: as above; nobody else reads or writes the storage meanwhile, which callers make sure of. What stands in a tensor
    // of `empty_like` is whatever the C++ allocator left there: any bits are an f32, and it is written before it is read.
    #[allow(unsafe_code)]
    unsafe {
        core::slice::from_raw_parts_mut(tensor.data_ptr() as *mut f32, count)
    }
}

fn count(tensor: &Tensor) -> usize {
    let plain = tensor.device() == Device::Cpu && tensor.kind() == Kind::Float && tensor.is_contiguous();
    debug_assert!(plain, "a contiguous f32 tensor on the CPU");
    if plain { tensor.numel() } else { 0 }
}
