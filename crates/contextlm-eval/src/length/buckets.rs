use super::report::PositionBucket;
use crate::estimate::Sums;

/// Losses by position: 0 to 15, then two buckets for every doubling, with a border at the length of the training.
pub(super) struct Buckets {
    /// First positions, from 0 on.
    starts: Vec<usize>,
    length: usize,
    sums: Vec<Sums>,
}

impl Buckets {
    pub fn new(length: usize, trained: usize, texts: usize) -> Self {
        let doublings = std::iter::successors(Some(16usize), |start| start.checked_mul(2));
        let mut starts: Vec<usize> = doublings
            .take_while(|&start| start < length)
            .flat_map(|start| [start, start + start / 2])
            .chain([0, trained])
            .filter(|&start| start < length)
            .collect();
        starts.sort_unstable();
        starts.dedup();
        let sums = vec![Sums::new(texts); starts.len()];
        Self { starts, length, sums }
    }

    pub fn add(&mut self, position: usize, text: usize, loss: f64) {
        let number = self.starts.partition_point(|&start| start <= position).saturating_sub(1);
        if let Some(sums) = self.sums.get_mut(number) {
            sums.add(text, loss);
        }
    }

    pub fn estimates(&self) -> Vec<PositionBucket> {
        let ends = self.starts.iter().skip(1).copied().chain([self.length]);
        let buckets = self.starts.iter().copied().zip(ends).zip(&self.sums);
        buckets.filter_map(|((from, to), sums)| Some(PositionBucket { from, to, loss: sums.estimate()? })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_every_position_once() {
        for (length, trained) in [(1, 256), (16, 16), (100, 40), (300, 256), (2048, 512)] {
            let mut buckets = Buckets::new(length, trained, 1);
            (0..length).for_each(|position| buckets.add(position, 0, position as f64));
            let found = buckets.estimates();
            assert_eq!((found[0].from, found.last().unwrap().to), (0, length));
            assert!(found.windows(2).all(|pair| pair[0].to == pair[1].from));
            assert!(trained >= length || found.iter().any(|bucket| bucket.from == trained));
            for bucket in found {
                assert_eq!(bucket.loss.mean, (bucket.from + bucket.to - 1) as f64 / 2.0);
            }
        }
    }
}
