use serde::{Deserialize, Serialize};

use crate::bootstrap::bootstrap_stderr;

/// What is measured, as lm-evaluation-harness 0.4.13 defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of questions whose likeliest answer is right; of completions whose every token is the likeliest.
    Acc,
    /// The same with log-likelihoods over the characters of each choice, without its leading space.
    AccNorm,
    /// The same over its bytes in UTF-8.
    AccBytes,
    /// exp of the negative mean log-likelihood of a completion.
    Perplexity,
    /// exp of the negative log-likelihood over all words.
    WordPerplexity,
    /// exp of the negative log-likelihood over all bytes.
    BytePerplexity,
    /// Negative log-likelihood over all bytes, in bits.
    BitsPerByte,
}

/// What one example adds to a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Item {
    /// 0 or 1, or a log-likelihood.
    pub value: f64,
    /// What it is divided by: 1, or words or bytes.
    pub weight: f64,
}

impl Item {
    pub(crate) fn new(value: f64, weight: f64) -> Self {
        Self { value, weight }
    }
}

impl Metric {
    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acc => "acc",
            Self::AccNorm => "acc_norm",
            Self::AccBytes => "acc_bytes",
            Self::Perplexity => "perplexity",
            Self::WordPerplexity => "word_perplexity",
            Self::BytePerplexity => "byte_perplexity",
            Self::BitsPerByte => "bits_per_byte",
        }
    }

    /// Whether more is better.
    pub fn higher_is_better(self) -> bool {
        matches!(self, Self::Acc | Self::AccNorm | Self::AccBytes)
    }

    /// The metric of examples; NaN of none.
    pub fn aggregate(self, items: &[Item]) -> f64 {
        let ratio = ratio(items);
        match self {
            Self::Acc | Self::AccNorm | Self::AccBytes => ratio,
            Self::Perplexity | Self::WordPerplexity | Self::BytePerplexity => (-ratio).exp(),
            Self::BitsPerByte => -ratio / std::f64::consts::LN_2,
        }
    }

    /// Its standard error; `None` for fewer than two examples.
    ///
    /// That of a mean is exact. Perplexities are drawn again `bootstrap` times, as the harness does, which gives none for
    /// words and bytes: there it is that of a ratio, to first order.
    pub fn stderr(self, items: &[Item], bootstrap: usize) -> Option<f64> {
        let of_ratio = ratio_stderr(items)?;
        Some(match self {
            Self::Acc | Self::AccNorm | Self::AccBytes => of_ratio,
            Self::Perplexity if bootstrap > 1 => {
                bootstrap_stderr(items.len(), bootstrap, |drawn| (-mean(drawn.map(|i| items[i].value))).exp())
            }
            Self::Perplexity | Self::WordPerplexity | Self::BytePerplexity => self.aggregate(items) * of_ratio,
            Self::BitsPerByte => of_ratio / std::f64::consts::LN_2,
        })
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    sum / count
}

/// Sum of the values over the sum of the weights: the mean where all weights are 1.
pub(crate) fn ratio(items: &[Item]) -> f64 {
    items.iter().map(|item| item.value).sum::<f64>() / items.iter().map(|item| item.weight).sum::<f64>()
}

/// Its standard error, to first order: the sample deviation over the root of the number where all weights are 1.
pub(crate) fn ratio_stderr(items: &[Item]) -> Option<f64> {
    let (count, ratio) = (items.len() as f64, ratio(items));
    if items.len() < 2 {
        return None;
    }
    let squares: f64 = items.iter().map(|item| (item.value - ratio * item.weight).powi(2)).sum();
    let weight: f64 = items.iter().map(|item| item.weight).sum();
    Some((squares * count / (count - 1.0)).sqrt() / weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(values: &[(f64, f64)]) -> Vec<Item> {
        values.iter().map(|&(value, weight)| Item { value, weight }).collect()
    }

    /// Values that api/metrics.py of lm-evaluation-harness 0.4.13 gives.
    #[test]
    fn metrics_are_those_of_the_harness() {
        let right = items(&[(1.0, 1.0), (0.0, 1.0), (1.0, 1.0), (1.0, 1.0)]);
        assert_eq!(Metric::Acc.aggregate(&right), 0.75);
        assert_eq!(Metric::Acc.stderr(&right, 0), Some(0.25));
        let likelihoods = items(&[(-1.5, 1.0), (-2.5, 1.0), (-0.5, 1.0)]);
        assert!((Metric::Perplexity.aggregate(&likelihoods) - 4.481_689_070_338_065).abs() < 1e-12);
        let texts = items(&[(-10.0, 4.0), (-20.0, 12.0)]);
        assert!((Metric::WordPerplexity.aggregate(&texts) - 6.520_819_120_330_113).abs() < 1e-12);
        assert!((Metric::BitsPerByte.aggregate(&texts) - 2.705_053_201_666_806).abs() < 1e-12);
        assert_eq!(Metric::Acc.stderr(&right[..1], 0), None);
    }

    #[test]
    fn the_error_of_a_perplexity_is_drawn_and_near_its_first_order() {
        let items: Vec<Item> = (0..400).map(|n| Item::new(-3.0 - f64::from(n * 37 % 101) / 50.0, 1.0)).collect();
        let (drawn, first_order) =
            (Metric::Perplexity.stderr(&items, 4000).unwrap(), Metric::Perplexity.stderr(&items, 0).unwrap());
        assert!((drawn / first_order - 1.0).abs() < 0.06, "{drawn}, {first_order}");
        assert_ne!(drawn, first_order);
        assert_eq!(Some(drawn), Metric::Perplexity.stderr(&items, 4000), "the same draws every time");
    }

    /// Of items of equal weight a ratio is a mean, whatever the weight is.
    #[test]
    fn the_error_of_a_ratio_is_that_of_a_mean_where_weights_are_equal() {
        let (ones, tens) =
            (items(&[(1.0, 1.0), (4.0, 1.0), (7.0, 1.0)]), items(&[(10.0, 10.0), (40.0, 10.0), (70.0, 10.0)]));
        assert!((ratio_stderr(&ones).unwrap() - 3.0_f64.sqrt()).abs() < 1e-12);
        assert!((ratio_stderr(&ones).unwrap() - ratio_stderr(&tens).unwrap()).abs() < 1e-12);
    }
}
