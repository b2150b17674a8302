//! PyTorch's operations that tch does not export, through TorchScript: `operations.pt`, a module of a few lines without
//! tensors, which `tools/write_torchscript.py` writes and which is compiled in.
//!
//! Every function gives `None`, with nothing done, where the PyTorch at hand does not take the module or its arguments; there
//! is a slower way then.

use std::sync::OnceLock;

use tch::{CModule, IValue, Tensor};

fn module() -> Option<&'static CModule> {
    static MODULE: OnceLock<Option<CModule>> = OnceLock::new();
    MODULE.get_or_init(|| CModule::load_data(&mut &include_bytes!("operations.pt")[..]).ok()).as_ref()
}

/// Whether PyTorch takes the module.
pub(crate) fn is_there() -> bool {
    module().is_some()
}

/// Calls a method of the module.
fn call(method: &str, arguments: &[IValue]) -> Option<IValue> {
    module()?.method_is(method, arguments).ok()
}

/// A step of AdamW for a list of tensors, in place: x, gradients, first and second moments, numbers of the step (f32, on the
/// device). Numbers: rate, both betas, decay, epsilon.
pub(crate) fn adamw(lists: [Vec<Tensor>; 5], numbers: [f64; 5]) -> Option<()> {
    let arguments: Vec<_> =
        lists.into_iter().map(IValue::TensorList).chain(numbers.into_iter().map(IValue::Double)).collect();
    call("adamw", &arguments).map(drop)
}

/// The L2 norm of every tensor of a list.
pub(crate) fn norms(tensors: Vec<Tensor>) -> Option<Vec<Tensor>> {
    match call("norms", &[IValue::TensorList(tensors)])? {
        IValue::TensorList(norms) => Some(norms),
        _ => None,
    }
}

/// Every tensor of a list times a number, in place.
pub(crate) fn scale(tensors: Vec<Tensor>, factor: f64) -> Option<()> {
    call("scale", &[IValue::TensorList(tensors), IValue::Double(factor)]).map(drop)
}

/// Gradients of x, weight and bias from what `native_layer_norm` gave beside the output.
pub(crate) fn layer_norm_backward(
    upstream: &Tensor,
    x: &Tensor,
    [mean, rstd]: [&Tensor; 2],
    [weight, bias]: [&Tensor; 2],
) -> Option<[Tensor; 3]> {
    let arguments = [upstream, x, mean, rstd, weight, bias].map(|tensor| IValue::Tensor(tensor.shallow_clone()));
    tensors(call("layer_norm_backward", &arguments)?)
}

/// Attention of q [B, H, T, Dh], k and v [B, H, S, Dh], in bf16 or f16 on a GPU, each query attending to all keys or, `causal`, to
/// those up to its own: the mix of values, and the logarithm of every softmax's sum [B, H, T].
pub(crate) fn flash_attention([q, k, v]: [&Tensor; 3], causal: bool, scale: f64) -> Option<[Tensor; 2]> {
    let [q, k, v] = [q, k, v].map(|tensor| IValue::Tensor(tensor.shallow_clone()));
    tensors(call("flash_attention", &[q, k, v, IValue::Bool(causal), IValue::Double(scale)])?)
}

/// A tuple of tensors.
fn tensors<const N: usize>(value: IValue) -> Option<[Tensor; N]> {
    let IValue::Tuple(values) = value else { return None };
    let tensor = |value| if let IValue::Tensor(tensor) = value { Some(tensor) } else { None };
    values.into_iter().map(tensor).collect::<Option<Vec<_>>>()?.try_into().ok()
}
