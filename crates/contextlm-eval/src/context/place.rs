use contextlm_core::position_rule::context_of;
use serde::Serialize;

use crate::{Estimate, estimate::Sums};

/// A quantity by the place in its chunk of the token that is predicted.
///
/// Only tokens that are guided by a predicted context count: position t predicts token t + 1, which is number
/// (t + 1) mod w of its chunk. Number 0 stands apart: position k w - 1 is the last of chunk k - 1, which the prediction of
/// chunk k was made from, so that there a context carries the current token too, and may be used for that alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ByPlace {
    /// All guided tokens.
    pub all: Estimate,
    /// First tokens of chunks.
    pub first: Estimate,
    /// All others; `None` where chunks have one token.
    pub later: Option<Estimate>,
    /// Token 0, 1, ... w - 1 of the chunk.
    pub places: Vec<Estimate>,
}

/// Sums by place.
#[derive(Debug, Clone)]
pub(crate) struct PlaceSums(Vec<Sums>);

impl PlaceSums {
    /// `places` is w, or T where windows are no longer than that.
    pub fn new(places: usize, texts: usize) -> Self {
        Self(vec![Sums::new(texts); places])
    }

    /// Adds the values of one window, those of position 0, 1, ...
    pub fn add(&mut self, text: usize, chunk_size: usize, values: &[f64]) {
        for (t, &value) in values.iter().enumerate().filter(|&(t, _)| context_of(t, chunk_size) > 0) {
            if let Some(sums) = self.0.get_mut((t + 1) % chunk_size) {
                sums.add(text, value);
            }
        }
    }

    /// This quantity less another of the same tokens.
    pub fn minus(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a.minus(b)).collect())
    }

    /// Guided tokens.
    pub fn count(&self) -> f64 {
        self.0.iter().map(Sums::count).sum()
    }

    /// `None` where there is no guided token.
    pub fn estimate(&self) -> Option<ByPlace> {
        let (first, later) = self.0.split_first()?;
        let sum = |start: &Sums, all: &[Sums]| {
            all.iter().fold(start.clone(), |mut sum, sums| {
                sum.add_all(sums);
                sum
            })
        };
        let places: Vec<Estimate> = self.0.iter().filter_map(Sums::estimate).collect();
        let later = later.split_first().and_then(|(second, rest)| sum(second, rest).estimate());
        Some(ByPlace { all: sum(first, &self.0[1..]).estimate()?, first: first.estimate()?, later, places })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_of_a_chunk_is_kept_apart() {
        let mut sums = PlaceSums::new(4, 1);
        // T = 12 and w = 4: positions 0, 1, 2 are guided by the initial context; 3, 7, 11 predict a first token.
        let values: Vec<f64> = (0..12).map(|t| if t < 3 { 1000.0 } else { f64::from(t) }).collect();
        sums.add(0, 4, &values);
        let found = sums.estimate().unwrap();
        assert_eq!(sums.count(), 9.0);
        assert_eq!(found.first.mean, 7.0);
        assert_eq!(found.places.iter().map(|place| place.mean).collect::<Vec<_>>(), [7.0, 6.0, 7.0, 8.0]);
        assert_eq!((found.later.unwrap().mean, found.all.mean), (7.0, 7.0));
    }

    #[test]
    fn chunks_of_one_token_have_first_ones_only() {
        let mut sums = PlaceSums::new(1, 1);
        sums.add(0, 1, &[1.0, 2.0, 3.0]);
        let found = sums.estimate().unwrap();
        assert_eq!((found.all.mean, found.first.mean, found.later), (2.0, 2.0, None));
    }
}
