use burn::tensor::{Int, Tensor};

/// Rotary position embeddings (arXiv 2104.09864) in GPT-NeoX's form: the first `dimensions` of each head are
/// rotated, dimension i together with dimension i + `dimensions`/2 ("rotate half").
#[derive(Debug, Clone, PartialEq)]
pub struct RotaryConfig {
    /// Rotated dimensions of a head; even.
    pub dimensions: usize,
    /// Base of the geometric series of frequencies.
    pub theta: f64,
}

/// Cosines and sines for the entries of one forward pass, shared by its blocks.
#[derive(Debug, Clone)]
pub struct Rotary {
    cos: Tensor<4>,
    sin: Tensor<4>,
    dimensions: usize,
}

impl RotaryConfig {
    /// The angles for these positions.
    ///
    /// # Shapes
    /// `ids`: [B, T] or [1, T]
    pub fn angles(&self, ids: Tensor<2, Int>) -> Rotary {
        let half = self.dimensions / 2;
        let frequencies: Vec<f32> =
            (0..half).map(|i| self.theta.powf(-2.0 * i as f64 / self.dimensions as f64) as f32).collect();
        let frequencies = Tensor::<1>::from_floats(frequencies.as_slice(), &ids.device());
        // [B, 1, T, half], the same for every head
        let angles = ids.float().unsqueeze_dims::<4>(&[1, 3]) * frequencies.unsqueeze::<4>();
        let angles = Tensor::cat(vec![angles.clone(), angles], 3); // [B, 1, T, dimensions]
        Rotary { cos: angles.clone().cos(), sin: angles.sin(), dimensions: self.dimensions }
    }
}

impl Rotary {
    /// Rotates queries or keys by their positions.
    ///
    /// # Shapes
    /// [B, H, T, Dh] to the same
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let [.., width] = x.dims();
        if self.dimensions == width {
            return self.turn(x);
        }
        let rotated = self.turn(x.clone().narrow(3, 0, self.dimensions));
        let rest = x.narrow(3, self.dimensions, width - self.dimensions);
        Tensor::cat(vec![rotated, rest], 3)
    }

    fn turn(&self, x: Tensor<4>) -> Tensor<4> {
        let half = self.dimensions / 2;
        let (first, second) = (x.clone().narrow(3, 0, half), x.clone().narrow(3, half, half));
        let turned = Tensor::cat(vec![second.neg(), first], 3);
        x * self.cos.clone() + turned * self.sin.clone()
    }
}
