//! LibTorch's tensors on the CPU as slices.

use tch::{Device, Kind, Tensor};

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

/// The same to be changed. The tensor must be the only one on its storage, as burn's `can_mut` tells.
pub(crate) fn values_mut(tensor: &mut Tensor) -> &mut [f32] {
    let count = count(tensor);
    if count == 0 {
        return &mut [];
    }
    // SAFETY: as above; nobody else reads or writes the storage meanwhile, which callers make sure of.
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
