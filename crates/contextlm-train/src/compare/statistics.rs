//! Means, their errors, and differences between them.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// The mean over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error: the standard deviation (divided by n - 1) over the square root of n. `None` for one seed.
    pub standard_error: Option<f64>,
    /// How many seeds.
    pub seeds: usize,
}

impl Estimate {
    /// Of values, at least one.
    pub(super) fn of(values: &[f64]) -> Self {
        let standard_error = (values.len() > 1).then(|| (variance(values) / values.len() as f64).sqrt());
        Self { mean: mean(values), standard_error, seeds: values.len() }
    }
}

/// How far a mean is above another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// The difference.
    pub value: f64,
    /// What it may be; `None` where one side has a single seed, which says nothing of the spread.
    pub interval: Option<Interval>,
}

/// A confidence interval by Welch's t, which lets both sides spread differently.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Share of such intervals that hold the true difference, 0.95.
    pub confidence: f64,
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Standard error of the difference.
    pub standard_error: f64,
    /// Degrees of freedom, by Welch and Satterthwaite.
    pub degrees_of_freedom: f64,
}

const CONFIDENCE: f64 = 0.95;

impl Difference {
    /// Of the mean of `values` to that of `baseline`.
    pub(super) fn welch(values: &[f64], baseline: &[f64]) -> Self {
        let value = mean(values) - mean(baseline);
        if values.len() < 2 || baseline.len() < 2 {
            return Self { value, interval: None };
        }
        let error = |values: &[f64]| variance(values) / values.len() as f64;
        let (a, b) = (error(values), error(baseline));
        let share = |error: f64, values: &[f64]| error * error / (values.len() - 1) as f64;
        let denominator = share(a, values) + share(b, baseline);
        // Values without any spread: as many as for equal spreads.
        let all = (values.len() + baseline.len() - 2) as f64;
        let degrees_of_freedom = if denominator > 0.0 { (a + b) * (a + b) / denominator } else { all };
        let standard_error = (a + b).sqrt();
        let interval = StudentsT::new(0.0, 1.0, degrees_of_freedom).ok().map(|t| {
            let reach = t.inverse_cdf(0.5 + CONFIDENCE / 2.0) * standard_error;
            Interval {
                confidence: CONFIDENCE,
                low: value - reach,
                high: value + reach,
                standard_error,
                degrees_of_freedom,
            }
        });
        Self { value, interval }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Divided by n - 1.
fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// What SciPy makes of some samples; `tools/write_statistics_fixture.py` writes it.
    #[derive(Deserialize)]
    struct Case {
        values: Vec<f64>,
        baseline: Vec<f64>,
        mean: f64,
        sem: f64,
        difference: f64,
        df: f64,
        low: f64,
        high: f64,
    }

    #[test]
    fn means_errors_and_intervals_are_scipys() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/fixtures/statistics.json")).unwrap();
        assert!(cases.len() > 5);
        let close = |found: f64, expected: f64| (found - expected).abs() <= 1e-9 * expected.abs().max(1e-3);
        for case in cases {
            let estimate = Estimate::of(&case.values);
            assert!(
                close(estimate.mean, case.mean) && close(estimate.standard_error.unwrap(), case.sem),
                "{estimate:?}"
            );
            let found = Difference::welch(&case.values, &case.baseline);
            let interval = found.interval.unwrap();
            assert!(close(found.value, case.difference) && close(interval.degrees_of_freedom, case.df), "{found:?}");
            assert!(
                close(interval.low, case.low) && close(interval.high, case.high),
                "{found:?} {} {}",
                case.low,
                case.high
            );
        }
    }

    #[test]
    fn one_seed_has_no_error_and_no_interval() {
        assert_eq!(Estimate::of(&[2.0]), Estimate { mean: 2.0, standard_error: None, seeds: 1 });
        assert_eq!(Difference::welch(&[2.0], &[1.0, 2.0]), Difference { value: 0.5, interval: None });
        assert_eq!(Difference::welch(&[1.0, 2.0], &[2.0]).interval, None);
    }

    #[test]
    fn equal_values_are_an_interval_without_width() {
        let interval = Difference::welch(&[3.0, 3.0], &[1.0, 1.0, 1.0]).interval.unwrap();
        assert_eq!((interval.low, interval.high, interval.degrees_of_freedom), (2.0, 2.0, 3.0));
    }
}
