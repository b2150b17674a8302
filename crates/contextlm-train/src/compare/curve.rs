//! Validation losses between validations.

/// The loss after `tokens`, on straight lines over the logarithm of the tokens, which losses follow better than straight
/// lines over the tokens; `None` outside the curve.
///
/// `curve` holds tokens, above 0 and rising, with their losses.
pub(super) fn at(curve: &[(f64, f64)], tokens: f64) -> Option<f64> {
    // Tokens that come out of a division may be off by a rounding.
    let same = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b;
    if let Some(point) = curve.iter().find(|point| same(point.0, tokens)) {
        return Some(point.1);
    }
    let after = curve.iter().position(|point| point.0 > tokens)?;
    let ((from, a), (to, b)) = (curve[after.checked_sub(1)?], curve[after]);
    let share = (tokens / from).ln() / (to / from).ln();
    Some(a + share * (b - a))
}

/// Mean, lowest and highest of several curves where all of them are.
pub(super) fn spread(curves: &[Vec<(f64, f64)>]) -> Vec<(f64, [f64; 3])> {
    let mut tokens: Vec<f64> = curves.iter().flatten().map(|point| point.0).collect();
    tokens.sort_by(f64::total_cmp);
    tokens.dedup();
    let of = |tokens: f64| {
        let losses = curves.iter().map(|curve| at(curve, tokens)).collect::<Option<Vec<f64>>>()?;
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        let (low, high) = losses.iter().fold((mean, mean), |(low, high), loss| (low.min(*loss), high.max(*loss)));
        Some((tokens, [mean, low, high]))
    };
    tokens.into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_straight_over_the_logarithm() {
        let curve = [(10.0, 5.0), (1000.0, 3.0), (2000.0, 2.5)];
        assert_eq!(at(&curve, 10.0), Some(5.0));
        assert_eq!(at(&curve, 2000.0), Some(2.5));
        assert!((at(&curve, 100.0).unwrap() - 4.0).abs() < 1e-12);
        assert_eq!((at(&curve, 9.0), at(&curve, 2001.0), at(&[], 1.0)), (None, None, None));
        // Back from operations to tokens.
        assert_eq!(at(&curve, 2000.0 * 3.3 / 3.3 * (1.0 + 1e-15)), Some(2.5));
    }

    #[test]
    fn a_spread_is_where_all_curves_are() {
        let found = spread(&[vec![(1.0, 4.0), (4.0, 2.0), (8.0, 1.0)], vec![(1.0, 6.0), (2.0, 3.0), (4.0, 3.0)]]);
        let tokens: Vec<f64> = found.iter().map(|point| point.0).collect();
        assert_eq!(tokens, [1.0, 2.0, 4.0]);
        assert_eq!((found[0].1, found[2].1), ([5.0, 4.0, 6.0], [2.5, 2.0, 3.0]));
    }
}
