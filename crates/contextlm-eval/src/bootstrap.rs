use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Draws of one generator.
const CHUNK: usize = 1000;

/// Sample deviation of a statistic over `draws` samples of `count` numbers below `count`, drawn with replacement. The
/// draws are the same every time.
pub(crate) fn bootstrap_stderr(
    count: usize,
    draws: usize,
    statistic: impl Fn(&mut dyn Iterator<Item = usize>) -> f64 + Sync,
) -> f64 {
    let chunk = |number: usize| {
        let mut random = ChaCha8Rng::seed_from_u64(number as u64);
        let draws = CHUNK.min(draws - number * CHUNK);
        let draw = |_| statistic(&mut (0..count).map(|_| random.random_range(0..count)));
        (0..draws).map(draw).collect::<Vec<f64>>()
    };
    let values: Vec<f64> = (0..draws.div_ceil(CHUNK)).into_par_iter().flat_map_iter(chunk).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)).sqrt()
}
