//! PyTorch's operations that tch does not export, through TorchScript: `operations.pt`, a module of a few lines without
//! tensors, which `tools/write_torchscript.py` writes and which is compiled in. The archive holds pickles, which can run any
//! code when they are read; that is fine for this one, which is ours and part of the program: no user's file is read this way.
//!
//! Every function gives `None`, with nothing done, where the PyTorch at hand does not take the module; there is a slower way
//! then. Any other error, out of memory say, is a panic with PyTorch's message, as in every operation of tch: the slower way may
//! keep other numbers for the backward pass, and half of a list may be done.

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
///
/// # Panics
/// If PyTorch has an error.
fn call(method: &str, arguments: &[IValue]) -> Option<IValue> {
    match module()?.method_is(method, arguments) {
        Ok(value) => Some(value),
        Err(error) => panic!("{error}"),
    }
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
        other => unreachable!("a list of tensors is declared, not {other:?}"),
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
    call("layer_norm_backward", &arguments).map(tensors)
}

/// Attention of q [B, H, T, Dh], k and v [B, H, S, Dh], in bf16 or f16 on a GPU, each query attending to all keys or, `causal`, to
/// those up to its own: the mix of values, and the logarithm of every softmax's sum [B, H, T].
pub(crate) fn flash_attention([q, k, v]: [&Tensor; 3], causal: bool, scale: f64) -> Option<[Tensor; 2]> {
    let [q, k, v] = [q, k, v].map(|tensor| IValue::Tensor(tensor.shallow_clone()));
    call("flash_attention", &[q, k, v, IValue::Bool(causal), IValue::Double(scale)]).map(tensors)
}

/// The tensors of a tuple.
fn tensors<const N: usize>(value: IValue) -> [Tensor; N] {
    let IValue::Tuple(values) = value else { unreachable!("a tuple is declared, not {value:?}") };
    let tensor = |value| match value {
        IValue::Tensor(tensor) => tensor,
        other => unreachable!("tensors are declared, not {other:?}"),
    };
    let tensors: Vec<_> = values.into_iter().map(tensor).collect();
    tensors.try_into().unwrap_or_else(|tensors: Vec<_>| unreachable!("{N} tensors are declared, not {}", tensors.len()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// It must not be taken for a PyTorch without the operation.
    #[test]
    fn an_error_of_pytorch_is_told() {
        let of = |shape: &[i64]| Tensor::ones(shape, (tch::Kind::Float, tch::Device::Cpu));
        let (x, statistics, weight) = (of(&[2, 3]), of(&[2, 1]), of(&[4]));
        let step = || layer_norm_backward(&x, &x, [&statistics; 2], [&weight; 2]);
        let error = catch_unwind(AssertUnwindSafe(step)).unwrap_err();
        let message = error.downcast_ref::<String>().unwrap();
        assert!(message.contains("layer_norm"), "{message}");
    }
}
