use serde::Serialize;

/// A mean over tokens, with the standard error of its texts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error: how far the mean of other texts of this kind would be off. `None` with one text.
    pub standard_error: Option<f64>,
}

/// Sums of one quantity, text by text.
///
/// Tokens of one text go together, so a text is what is drawn at random, not a token. Sums of the same tokens can be
/// subtracted before the error is taken: that is the paired error of a difference, in which what makes a text easy or hard
/// for both sides has gone.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Sums(Vec<Sum>);

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Sum {
    total: f64,
    count: f64,
}

impl Sums {
    /// Nothing of `texts` texts.
    pub fn new(texts: usize) -> Self {
        Self(vec![Sum::default(); texts])
    }

    /// Adds the value of one token.
    pub fn add(&mut self, text: usize, value: f64) {
        if let Some(sum) = self.0.get_mut(text) {
            sum.total += value;
            sum.count += 1.0;
        }
    }

    /// Adds all that another one has of the same texts.
    pub fn add_all(&mut self, other: &Self) {
        for (sum, other) in self.0.iter_mut().zip(&other.0) {
            sum.total += other.total;
            sum.count += other.count;
        }
    }

    /// This quantity less another of the same tokens.
    pub fn minus(&self, other: &Self) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        Self(pairs.map(|(a, b)| Sum { total: a.total - b.total, count: a.count }).collect())
    }

    /// Tokens counted.
    pub fn count(&self) -> f64 {
        self.0.iter().map(|sum| sum.count).sum()
    }

    /// Sum over all texts.
    pub fn total(&self) -> f64 {
        self.0.iter().map(|sum| sum.total).sum()
    }

    /// Total over count, with the standard error of this ratio, by linearisation: sqrt(n/(n-1) sum (t_i - m c_i)^2) / sum c_i
    /// for n texts of totals t_i and counts c_i (Cochran, Sampling Techniques, 6.4). `None` where nothing was counted.
    pub fn estimate(&self) -> Option<Estimate> {
        let (count, total) = (self.count(), self.total());
        if count == 0.0 {
            return None;
        }
        let mean = total / count;
        let texts = self.0.iter().filter(|sum| sum.count > 0.0).count() as f64;
        let squares: f64 = self.0.iter().map(|sum| (sum.total - mean * sum.count).powi(2)).sum();
        let standard_error = (texts > 1.0).then(|| (texts / (texts - 1.0) * squares).sqrt() / count);
        Some(Estimate { mean, standard_error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(texts: &[&[f64]]) -> Sums {
        let mut sums = Sums::new(texts.len());
        for (text, values) in texts.iter().enumerate() {
            values.iter().for_each(|&value| sums.add(text, value));
        }
        sums
    }

    #[test]
    fn texts_of_equal_length_have_the_error_of_their_means() {
        let found = sums(&[&[1.0, 3.0], &[2.0, 4.0], &[6.0, 8.0]]).estimate().unwrap();
        // Means 2, 3 and 7: standard deviation sqrt(7), of 3.
        assert_eq!(found.mean, 4.0);
        assert!((found.standard_error.unwrap() - (7.0f64 / 3.0).sqrt()).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn tokens_of_one_text_are_no_sample() {
        assert_eq!(sums(&[&[1.0, 2.0, 9.0]]).estimate().unwrap().standard_error, None);
        assert_eq!(sums(&[&[], &[]]).estimate(), None);
        let copies = sums(&[&[1.0; 100], &[2.0; 100]]).estimate().unwrap();
        assert!((copies.standard_error.unwrap() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_paired_difference_forgets_what_both_sides_share() {
        let (a, b) = (sums(&[&[11.0, 12.0], &[1.0, 2.0]]), sums(&[&[10.0, 11.0], &[0.0, 1.0]]));
        let found = a.minus(&b).estimate().unwrap();
        assert_eq!((found.mean, found.standard_error), (1.0, Some(0.0)));
        assert!(a.estimate().unwrap().standard_error.unwrap() > 4.0);
    }
}
