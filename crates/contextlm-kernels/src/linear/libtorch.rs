//! Linear maps on LibTorch: every product over all rows at once, with the bias in it.
//!
//! Burn's own keep a batch of rows a batch, which LibTorch multiplies one by one, and add the bias in a pass of its own.

use burn::backend::LibTorch;
use burn::tensor::FloatDType;
use tch::Tensor;

use super::ops::LinearMapOps;
use crate::libtorch::TorchTensor;

impl LinearMapOps for LibTorch {
    fn linear_map(x: TorchTensor, weight: TorchTensor) -> TorchTensor {
        TorchTensor::new(with_width(as_rows(&x.tensor).mm(&weight.tensor), &x.tensor))
    }

    fn biased_map(x: TorchTensor, weight: TorchTensor, bias: TorchTensor) -> TorchTensor {
        TorchTensor::new(with_width(bias.tensor.addmm(&as_rows(&x.tensor), &weight.tensor), &x.tensor))
    }

    fn map_x_backward(weight: TorchTensor, upstream: TorchTensor) -> TorchTensor {
        TorchTensor::new(with_width(as_rows(&upstream.tensor).mm(&weight.tensor.tr()), &upstream.tensor))
    }

    fn map_weight_backward(x: TorchTensor, upstream: TorchTensor) -> TorchTensor {
        TorchTensor::new(as_rows(&x.tensor).tr().mm(&as_rows(&upstream.tensor)))
    }

    // `linear` has given the bias the type of upstream.
    fn map_bias_backward(upstream: TorchTensor, _: FloatDType) -> TorchTensor {
        let rows = as_rows(&upstream.tensor);
        TorchTensor::new(rows.sum_dim_intlist([0i64].as_slice(), false, rows.kind()))
    }
}

/// `[..., width]` as [rows, width].
fn as_rows(x: &Tensor) -> Tensor {
    let size = x.size();
    let (width, outer) = size.split_last().map_or((1, &[][..]), |(width, outer)| (*width, outer));
    x.reshape([outer.iter().product(), width])
}

/// The rows of a product in the outer dimensions of `like`.
fn with_width(product: Tensor, like: &Tensor) -> Tensor {
    let (mut size, width) = (like.size(), product.size()[1]);
    if let Some(last) = size.last_mut() {
        *last = width;
    }
    product.reshape(size)
}
