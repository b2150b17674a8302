use std::time::Instant;

use contextlm_core::{ContextLmConfig, Device};

/// Bytes of the array that is read.
const BYTES: usize = 512 << 20;

/// Bytes a second that all threads together read from memory, the best of five times.
pub(crate) fn memory_rate(threads: usize) -> f64 {
    let numbers = vec![1u64; BYTES / 8];
    let seconds = (0..5).map(|_| {
        let clock = Instant::now();
        let read =
            |part: &[u64]| std::hint::black_box(part.iter().fold(0, |sum: u64, number| sum.wrapping_add(*number)));
        std::thread::scope(|scope| {
            for part in numbers.chunks(numbers.len().div_ceil(threads.max(1))) {
                scope.spawn(move || read(part));
            }
        });
        clock.elapsed().as_secs_f64()
    });
    BYTES as f64 / seconds.fold(f64::INFINITY, f64::min)
}

/// Bytes of the weights that a token meets, those of the predictor once in w tokens; `None` where they are not known.
pub(crate) fn bytes_a_token(config: &ContextLmConfig, int8: bool, device: &Device) -> Option<f64> {
    let model = config.init(device).ok()?;
    // Two operations for every weight of a linear map; none for attention over no tokens.
    let weights = model.flops_per_token(0)?.total as f64 / 2.0;
    // A byte each, and a scale of four bytes for every 64.
    Some(weights * if int8 { 1.0 + 4.0 / 64.0 } else { 4.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_gpt2_meets_its_blocks_and_its_head() -> Result<(), Box<dyn std::error::Error>> {
        let device = contextlm_device::device("cpu")?;
        let config = ContextLmConfig::preset("gpt2")?;
        let weights = 12 * 12 * 768 * 768 + 50257 * 768;
        assert_eq!(bytes_a_token(&config, false, &device), Some(4.0 * f64::from(weights)));
        assert_eq!(bytes_a_token(&config, true, &device), Some(1.0625 * f64::from(weights)));
        Ok(())
    }
}
