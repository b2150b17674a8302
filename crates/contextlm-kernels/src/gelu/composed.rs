//! The GELU's composed bodies.

use core::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, PI};

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;

use super::GeluKind;

/// What the tanh approximation adds to x: 0.044715 x^3.
pub(super) const CUBE: f64 = 0.044715;

pub(super) fn gelu<B: Backend>(x: FloatTensor<B>, kind: GeluKind) -> FloatTensor<B> {
    match kind {
        // burn's own forward is exact on every backend.
        GeluKind::Exact => B::gelu(x),
        GeluKind::Tanh => B::float_mul(x.clone(), tanh_cdf::<B>(x)),
    }
}

/// `upstream` times cdf(x) + x pdf(x), or the approximation's derivative.
pub(super) fn gradient<B: Backend>(x: FloatTensor<B>, upstream: FloatTensor<B>, kind: GeluKind) -> FloatTensor<B> {
    let square = B::float_mul(x.clone(), x.clone());
    let (cdf, slope) = match kind {
        GeluKind::Exact => {
            let erf = B::float_erf(B::float_mul_scalar(x.clone(), FRAC_1_SQRT_2.into()));
            let cdf = B::float_mul_scalar(B::float_add_scalar(erf, 1.0.into()), 0.5.into());
            let bell = B::float_exp(B::float_mul_scalar(square, (-0.5).into()));
            (cdf, B::float_mul_scalar(bell, (1.0 / (2.0 * PI).sqrt()).into()))
        }
        GeluKind::Tanh => {
            // s = (1 + tanh(u)) / 2 has the derivative 2 s (1 - s) u'.
            let s = tanh_cdf::<B>(x.clone());
            let rest = B::float_add_scalar(B::float_neg(s.clone()), 1.0.into());
            let inner = B::float_add_scalar(B::float_mul_scalar(square, (3.0 * CUBE).into()), 1.0.into());
            let inner = B::float_mul_scalar(inner, (2.0 * FRAC_2_PI.sqrt()).into());
            (s.clone(), B::float_mul(B::float_mul(s, rest), inner))
        }
    };
    B::float_mul(B::float_add(cdf, B::float_mul(x, slope)), upstream)
}

/// (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.
fn tanh_cdf<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let square = B::float_mul(x.clone(), x.clone());
    let inner = B::float_add_scalar(B::float_mul_scalar(square, CUBE.into()), 1.0.into());
    let inner = B::float_mul_scalar(B::float_mul(x, inner), FRAC_2_PI.sqrt().into());
    B::float_mul_scalar(B::float_add_scalar(B::float_tanh(inner), 1.0.into()), 0.5.into())
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use burn::backend::ops::{ActivationOps, FloatTensorOps};
    use burn::tensor::TensorData;

    /// The composed body is what CubeCL runs in f32; here it runs on flex, whose own gradient is exact.
    #[test]
    fn the_composed_gradient_is_the_exact_one() {
        let tensor = |value: fn(f32) -> f32| {
            let values: Vec<f32> = (-400..=400).map(|step| value(step as f32 / 64.0)).collect();
            Flex::float_from_data(TensorData::new(values, [801]), &Default::default())
        };
        let (x, upstream) = (tensor(|x| x), tensor(|x| 1.0 - x));
        let composed = gradient::<Flex>(x.clone(), upstream.clone(), GeluKind::Exact).into_data();
        let exact = Flex::gelu_backward(x, upstream).into_data();
        for (c, e) in composed.iter::<f32>().zip(exact.iter::<f32>()) {
            assert!((c - e).abs() <= 2e-6, "{c} instead of {e}");
        }
    }
}
