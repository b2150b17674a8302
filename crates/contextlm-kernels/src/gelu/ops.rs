//! The extension trait of the GELU, with its composed and fast bodies.

use core::f64::consts::{FRAC_1_SQRT_2, PI};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

/// Exact GELU and its gradient.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu")),
    LibTorch: cfg(feature = "libtorch"),
    Autodiff
)]
pub(crate) trait ExactGeluOps: Backend {
    /// 0.5 x (1 + erf(x / sqrt(2))). burn's own forward is exact on every backend.
    #[allow(unused_variables)] // without a backend
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::gelu(x)
    }

    /// `upstream` times the derivative at `x`.
    #[allow(unused_variables)]
    fn exact_gelu_gradient(x: FloatTensor<Self>, upstream: FloatTensor<Self>) -> FloatTensor<Self> {
        composed_gradient::<Self>(x, upstream)
    }
}

/// Fast bodies: burn's own gradients of these two backends are exact and one kernel.
#[cfg(feature = "flex")]
impl ExactGeluOps for burn::backend::Flex {
    fn exact_gelu_gradient(x: FloatTensor<Self>, upstream: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as burn::backend::ops::ActivationOps<Self>>::gelu_backward(x, upstream)
    }
}

#[cfg(feature = "libtorch")]
impl ExactGeluOps for burn::backend::LibTorch {
    fn exact_gelu_gradient(x: FloatTensor<Self>, upstream: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as burn::backend::ops::ActivationOps<Self>>::gelu_backward(x, upstream)
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
impl ExactGeluOps for burn::backend::Cube {}

/// cdf(x) + x pdf(x), times `upstream`.
fn composed_gradient<B: Backend>(x: FloatTensor<B>, upstream: FloatTensor<B>) -> FloatTensor<B> {
    let erf = B::float_erf(B::float_mul_scalar(x.clone(), FRAC_1_SQRT_2.into()));
    let cdf = B::float_mul_scalar(B::float_add_scalar(erf, 1.0.into()), 0.5.into());
    let square = B::float_mul(x.clone(), x.clone());
    let pdf = B::float_exp(B::float_mul_scalar(square, (-0.5).into()));
    let pdf = B::float_mul_scalar(pdf, (1.0 / (2.0 * PI).sqrt()).into());
    B::float_mul(B::float_add(cdf, B::float_mul(x, pdf)), upstream)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use burn::backend::ops::{ActivationOps, FloatTensorOps};
    use burn::tensor::TensorData;

    /// The composed body is what CubeCL runs; here it runs on flex, whose own gradient is exact.
    #[test]
    fn the_composed_gradient_is_the_exact_one() {
        let tensor = |value: fn(f32) -> f32| {
            let values: Vec<f32> = (-400..=400).map(|step| value(step as f32 / 64.0)).collect();
            Flex::float_from_data(TensorData::new(values, [801]), &Default::default())
        };
        let (x, upstream) = (tensor(|x| x), tensor(|x| 1.0 - x));
        let composed = composed_gradient::<Flex>(x.clone(), upstream.clone()).into_data();
        let exact = Flex::gelu_backward(x, upstream).into_data();
        for (c, e) in composed.iter::<f32>().zip(exact.iter::<f32>()) {
            assert!((c - e).abs() <= 2e-6, "{c} instead of {e}");
        }
    }
}
