//! Linear maps on GPUs, by the products chosen there.

use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Cube, TensorMetadata};
use burn::tensor::{FloatDType, Shape};

use super::no_rows::weight_gradient;
use super::ops::LinearMapOps;
use crate::cast::cast;
use crate::gpu::GpuOps;

impl LinearMapOps for Cube {
    fn linear_map(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::gpu_linear(x, weight)
    }

    fn biased_map(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let product = Self::gpu_linear(x, weight);
        let mut beside = Shape::from(vec![1; product.shape().num_dims()]);
        let last = beside.num_dims() - 1;
        beside[last] = bias.shape().num_elements();
        // Behind the product, where fusion makes it part of the sum.
        let bias = cast::<Self>(bias, product.dtype().into());
        Self::float_add(product, Self::float_reshape(bias, beside))
    }

    fn map_x_backward(weight: FloatTensor<Self>, upstream: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::gpu_linear(upstream, Self::float_transpose(weight))
    }

    fn map_weight_backward(x: FloatTensor<Self>, upstream: FloatTensor<Self>) -> FloatTensor<Self> {
        if let Some(zeros) = weight_gradient::<Self>(&x, &upstream) {
            return zeros;
        }
        let [x, upstream] = [x, upstream].map(|tensor| {
            let shape = tensor.shape();
            let width = shape[shape.num_dims() - 1];
            Self::float_reshape(tensor, Shape::new([shape.num_elements() / width.max(1), width]))
        });
        Self::gpu_product(Self::float_transpose(x), upstream)
    }

    fn map_bias_backward(upstream: FloatTensor<Self>, dtype: FloatDType) -> FloatTensor<Self> {
        let sums = match upstream.shape().num_elements() {
            0 => Self::linear_bias_backward(upstream),
            _ => Self::gpu_column_sums(upstream),
        };
        cast::<Self>(sums, dtype)
    }
}
