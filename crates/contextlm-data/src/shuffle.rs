use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

const ROUNDS: usize = 8;

/// A permutation of 0..n that is given by n, a seed and a number, and of which any one value can be had without the others.
///
/// A Feistel network of eight rounds permutes the numbers of 2k bits; a value of n or more is put through it again until
/// it is below n (cycle walking; fewer than four times on average, as 4^k < 4n). The keys come from ChaCha8, whose output
/// is the same in every version.
#[derive(Clone, Debug)]
pub(crate) struct Shuffle {
    n: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

impl Shuffle {
    /// The permutation of `0..n` (n >= 1) with this number among those of the seed.
    pub(crate) fn new(n: u64, seed: u64, number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        let mut random = ChaCha8Rng::from_seed(bytes);
        let bits = u64::BITS - n.saturating_sub(1).leading_zeros();
        Self { n, half_bits: bits.div_ceil(2).max(1), keys: std::array::from_fn(|_| random.next_u64()) }
    }

    /// Where `index` (below n) goes.
    pub(crate) fn get(&self, index: u64) -> u64 {
        let mut value = self.network(index);
        while value >= self.n {
            value = self.network(value);
        }
        value
    }

    fn network(&self, value: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        (left << self.half_bits) | right
    }
}

/// SplitMix64's output function.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(n: u64, seed: u64, number: u64) -> Vec<u64> {
        let shuffle = Shuffle::new(n, seed, number);
        (0..n).map(|index| shuffle.get(index)).collect()
    }

    #[test]
    fn every_number_once() {
        for n in (1..300).chain([1000, 4095, 4096, 4097, 65_537]) {
            let mut found = all(n, 7, n);
            found.sort_unstable();
            assert!(found.into_iter().eq(0..n), "{n}");
        }
    }

    #[test]
    fn seed_and_number_change_it() {
        assert_ne!(all(100, 1, 0), all(100, 2, 0));
        assert_ne!(all(100, 1, 0), all(100, 1, 1));
        assert_ne!(all(100, 1, 2), all(100, 2, 1));
        // The order of runs that were started with earlier versions.
        assert_eq!(all(10, 0, 0), EXPECTED);
    }

    const EXPECTED: [u64; 10] = [0, 4, 7, 1, 2, 3, 6, 9, 8, 5];

    /// Where 0 and 1 go, over many seeds, is spread evenly over all pairs.
    #[test]
    fn pairs_are_spread_evenly() {
        let (n, seeds) = (12, 26_400);
        let mut counts = vec![0u32; n * n];
        for seed in 0..seeds {
            let shuffle = Shuffle::new(n as u64, seed, 0);
            counts[shuffle.get(0) as usize * n + shuffle.get(1) as usize] += 1;
        }
        let pairs = (n * (n - 1)) as f64;
        let expected = seeds as f64 / pairs;
        let off_diagonal = counts.iter().enumerate().filter(|(at, _)| at % (n + 1) != 0);
        let chi2: f64 = off_diagonal.map(|(_, &count)| (f64::from(count) - expected).powi(2) / expected).sum();
        // Chi-square with 131 degrees of freedom: mean 131, five standard deviations are 81.
        assert!(chi2 < 131.0 + 81.0, "{chi2}");
    }

    #[test]
    fn the_largest_ranges_work() {
        for n in [u64::MAX, 1 << 63, (1 << 62) + 1] {
            let shuffle = Shuffle::new(n, 3, 4);
            assert!([0, 1, n - 1].iter().all(|&index| shuffle.get(index) < n));
        }
    }
}
