//! Lists on LibTorch: PyTorch's `_foreach` operations.

use burn::backend::LibTorch;
use burn::tensor::Tensor;

use crate::libtorch::{TorchTensor, owned, script};

/// The L2 norm of all tensors, which are some and on LibTorch, `[1]`; `None` where this PyTorch has no norms of lists.
pub(super) fn l2_norm(tensors: &[Tensor<1>]) -> Option<Tensor<1>> {
    let list = tensors.iter().map(|tensor| primitive(tensor.clone()).tensor).collect();
    let all = tch::Tensor::stack(&script::norms(list)?, 0).norm();
    Some(Tensor::from_primitive::<LibTorch>(TorchTensor::new(all.reshape([1]))))
}

/// All tensors, which are on LibTorch, times a number.
pub(super) fn scale(tensors: Vec<Tensor<1>>, factor: f64) -> Vec<Tensor<1>> {
    let mut tensors: Vec<_> = tensors.into_iter().map(|tensor| owned(primitive(tensor))).collect();
    let list = tensors.iter().map(|tensor| tensor.tensor.shallow_clone()).collect();
    if script::scale(list, factor).is_none() {
        for tensor in &mut tensors {
            let _ = tensor.tensor.g_mul_scalar_(factor);
        }
    }
    tensors.into_iter().map(Tensor::from_primitive::<LibTorch>).collect()
}

fn primitive(tensor: Tensor<1>) -> TorchTensor {
    match tensor.try_into_primitive::<LibTorch>() {
        Ok(tensor) => tensor,
        Err(error) => unreachable!("the tensor is on LibTorch: {error:?}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// Of three tensors, one of them without elements and one turned.
    fn tensors() -> Vec<Tensor<1>> {
        let of = |count: usize| {
            let values: Vec<f32> = (0..count).map(|i| (i as f32 * 1.7).sin()).collect();
            Tensor::<1>::from_data(TensorData::new(values, [count]), &Device::libtorch())
        };
        let turned = of(12).reshape([3, 4]).transpose().reshape([12]);
        vec![of(100_003), of(0), turned]
    }

    /// What runs on GPUs runs on the CPU here.
    #[test]
    fn of_a_list_as_of_each() {
        let expected = super::super::l2_norm(&tensors()).unwrap().into_scalar::<f32>();
        let found = l2_norm(&tensors()).unwrap().into_scalar::<f32>();
        assert!((found - expected).abs() <= 1e-5 * expected, "{found} and {expected}");
        assert!(super::super::l2_norm(&[]).is_none());
        assert!(super::super::scale(Vec::new(), 0.3).is_empty());

        let held = tensors();
        let scaled = scale([held.clone(), tensors()].concat(), 0.3);
        let expected = super::super::scale(tensors(), 0.3);
        for (found, expected) in scaled.into_iter().zip([expected.clone(), expected].concat()) {
            assert_eq!(found.into_data(), expected.into_data());
        }
        for (held, before) in held.into_iter().zip(tensors()) {
            assert_eq!(held.into_data(), before.into_data(), "somebody else's");
        }
    }
}
