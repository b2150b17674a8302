use burn::tensor::{Int, Tensor};
use contextlm_kernels::rotary;

/// Rotary position embeddings (arXiv 2104.09864) in GPT-NeoX's form: the first `dimensions` of each head are
/// rotated, dimension i together with dimension i + `dimensions`/2 ("rotate half").
#[derive(Debug, Clone, PartialEq)]
pub struct RotaryConfig {
    /// Rotated dimensions of a head; even.
    pub dimensions: usize,
    /// Base of the geometric series of frequencies.
    pub theta: f64,
    /// How the frequencies are changed for texts longer than those of the first training, if they are.
    pub scaling: Option<RotaryScaling>,
}

/// Llama 3.1's scaling of the frequencies (`rope_type` `llama3`): those with few turns in the original length are divided
/// by `factor`, those with many stay, and those between are mixed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RotaryScaling {
    /// What the lowest frequencies are divided by.
    pub factor: f64,
    /// Turns in the original length up to which frequencies are divided.
    pub low_freq_factor: f64,
    /// Turns in the original length from which on frequencies stay; above `low_freq_factor`.
    pub high_freq_factor: f64,
    /// The length of the first training, positions.
    pub original_length: f64,
}

/// Cosines and sines for the entries of one forward pass, shared by its blocks.
#[derive(Debug, Clone)]
pub struct Rotary {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl RotaryConfig {
    /// The angles for these positions.
    ///
    /// # Shapes
    /// `ids`: [B, T] or [1, T]
    pub fn angles(&self, ids: Tensor<2, Int>) -> Rotary {
        let frequencies: Vec<f32> = self.frequencies().map(|frequency| frequency as f32).collect();
        let frequencies = Tensor::<1>::from_floats(frequencies.as_slice(), &ids.device());
        // [B, T, 1, half], the same for every head
        let angles = ids.float().unsqueeze_dims::<4>(&[2, 3]) * frequencies.unsqueeze::<4>();
        let angles = Tensor::cat(vec![angles.clone(), angles], 3); // [B, T, 1, dimensions]
        Rotary { cos: angles.clone().cos(), sin: angles.sin() }
    }

    /// Radians a position, one for each pair of dimensions.
    fn frequencies(&self) -> impl Iterator<Item = f64> {
        let plain = |i: usize| self.theta.powf(-2.0 * i as f64 / self.dimensions as f64);
        (0..self.dimensions / 2).map(move |i| match &self.scaling {
            None => plain(i),
            Some(scaling) => scaling.apply(plain(i)),
        })
    }
}

impl RotaryScaling {
    fn apply(&self, frequency: f64) -> f64 {
        let turns = self.original_length * frequency / std::f64::consts::TAU;
        let kept = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor);
        let kept = kept.clamp(0.0, 1.0);
        frequency * (kept + (1.0 - kept) / self.factor)
    }
}

impl Rotary {
    /// Cosines and sines, [B, T, 1, dimensions] each, or [1, T, 1, dimensions] where all rows agree.
    pub fn angles(&self) -> (Tensor<4>, Tensor<4>) {
        (self.cos.clone(), self.sin.clone())
    }

    /// Rotates queries or keys by their positions.
    ///
    /// # Shapes
    /// [B, T, H, Dh] to the same
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        rotary(x, self.cos.clone(), self.sin.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_divides_slow_frequencies_and_keeps_fast_ones() {
        let scaling =
            RotaryScaling { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_length: 8192.0 };
        let of_turns = |turns: f64| turns * std::f64::consts::TAU / 8192.0;
        let ratio = |turns: f64| scaling.apply(of_turns(turns)) / of_turns(turns);
        assert_eq!([ratio(100.0), ratio(4.0), ratio(0.5), ratio(1.0)], [1.0, 1.0, 0.125, 0.125]);
        // Half way between 1 and 4 turns: half of it stays, half is divided by 8.
        assert!((ratio(2.5) - (0.5 + 0.5 / 8.0)).abs() < 1e-12);
    }
}
