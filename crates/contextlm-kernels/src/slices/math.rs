//! Functions of one f32 that the compiler turns into vector instructions: no branches, no calls.

use core::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

/// e^x within 2 units in the last place; exactly 0 below -87.33, where the result would not be a normal number.
///
/// x = n ln 2 + r with |r| <= ln(2) / 2: a polynomial for e^r, and n added to the exponent's bits.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.33;
    const HIGHEST: f32 = 88.722;
    /// Adding it leaves the nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    const LN_2_HIGH: f32 = 0.693_359_4; // few bits, so that its product with n is exact
    const LN_2_LOW: f32 = -2.121_944_4e-4;

    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    // Least relative error (3e-9) on the interval.
    let p = 0.499_999_94 + r * (0.166_665_21 + r * (0.041_668_39 + r * (0.008_368_716 + r * 0.001_381_457)));
    let p = 1.0 + (r + r * r * p);
    let y = p.to_bits().wrapping_add(shifted.to_bits() << 23);
    // Masks instead of `if`: the compiler makes branches of those, and loops with branches are not vectorised.
    let (zero, infinite) = (mask(x < LOWEST), mask(x > HIGHEST));
    f32::from_bits(y & !zero & !infinite | f32::INFINITY.to_bits() & infinite)
}

#[inline(always)]
fn mask(condition: bool) -> u32 {
    u32::from(condition).wrapping_neg()
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The normal distribution's cumulative function, and e^(-x^2/2), of which its density is a multiple.
///
/// erfc(z) = e^(-z^2) times a polynomial in t = 1 / (1 + 0.425 z), fitted with a relative error of 1.2e-7 (the form is
/// that of Abramowitz and Stegun, 7.1.26).
#[inline(always)]
pub(crate) fn normal(x: f32) -> (f32, f32) {
    let bell = exp(-0.5 * x * x);
    let t = 1.0 / (1.0 + 0.425 * FRAC_1_SQRT_2 * x.abs());
    let p = 0.257_547_05 + t * (-0.107_899_725 + t * (0.412_667_33 + t * (-0.316_087_37 + t * 0.072_181_605)));
    let p = t * (0.239_670_81 + t * (0.241_960_3 + t * (0.199_959_86 + t * p)));
    // 1 - tail or tail, by the sign of x.
    let half = 0.5f32.copysign(x);
    (0.5 + half - p * bell * half, bell)
}

/// Partial sums of a reduction: enough for the widest vectors, and the same on every processor, so that results are too.
const LANES: usize = 32;

/// The sum of `term(i)` for `i < count`, always added in the same order.
#[inline(always)]
pub(crate) fn sum(count: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let whole = count - count % LANES;
    let mut start = 0;
    while start < whole {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(start + lane);
        }
        start += LANES;
    }
    for (lane, index) in (whole..count).enumerate() {
        lanes[lane] += term(index);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest value, `f32::NEG_INFINITY` of none.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder().iter().fold(f32::NEG_INFINITY, |most, &value| larger(most, value));
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, value);
        }
    }
    lanes.into_iter().fold(rest, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_that_of_f64() {
        for step in -87_000..=88_700 {
            let x = step as f32 / 1000.0;
            let expected = f64::from(x).exp();
            assert!((f64::from(exp(x)) / expected - 1.0).abs() < 2.5e-7, "exp({x})");
        }
        assert_eq!([exp(0.0), exp(-88.0), exp(-1e30), exp(89.0)], [1.0, 0.0, 0.0, f32::INFINITY]);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_and_maxima_of_any_length() {
        for count in [0, 1, 31, 32, 33, 100] {
            let values: Vec<f32> = (0..count).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
            assert_eq!(sum(count, |i| values[i]), values.iter().sum::<f32>());
            assert_eq!(max(&values), values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}
