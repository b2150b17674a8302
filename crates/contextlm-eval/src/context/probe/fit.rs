use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use contextlm_core::linear;

use crate::EvalError;
use crate::nll::floats;

/// Largest step of Adam times the root of the width, so that logits of wide vectors move no faster; it falls to 0 along a cosine.
const LR: f64 = 0.03;
/// Steps between looks at the chunks that the fit is stopped by.
const LOOK: usize = 2;

/// How a probe does on the chunks that it is scored on.
pub(super) struct Scores {
    /// Negative log-likelihood of every class, nats.
    pub nll: Vec<f64>,
    /// Whether the likeliest class is right.
    pub right: Vec<bool>,
}

/// What a fit starts from, and what it ends with: logits of the training, the stopping and the test samples, [N, C] each.
pub(super) type Logits = [Tensor<2>; 3];

/// The logarithms of the frequencies of the classes in the training set, for every sample.
pub(super) fn frequency_logits(labels: &[usize], sets: &[Vec<usize>; 3], classes: usize, device: &Device) -> Logits {
    let log: Vec<f32> = log_frequencies(labels, &sets[0], classes).iter().map(|&value| value as f32).collect();
    let log = Tensor::<2>::from_data(TensorData::new(log, [1, classes]), device);
    sets.each_ref().map(|set| log.clone().expand([set.len(), classes]))
}

/// Softmax regression: to the logits that it starts from it adds a linear map from standardised vectors [N, D] to the
/// classes, from zero weights, by Adam on all training samples at once. Of the weights that it passes through, zeros included,
/// those stay that do best on the second set; so vectors that tell nothing new hardly make it worse.
pub(super) fn regression(
    vectors: &Tensor<2>,
    start: &Logits,
    labels: &[usize],
    sets: &[Vec<usize>; 3],
    steps: usize,
) -> Result<Logits, EvalError> {
    let device = vectors.device();
    let [training, stopping, test] = sets.each_ref().map(|set| select(vectors, set, &device));
    let (mean, scale) = moments(&training);
    let standardise = |x: Tensor<2>| (x - mean.clone()) * scale.clone();
    let [training, stopping, test] = [training, stopping, test].map(standardise);

    let ([samples, width], [_, classes]) = (training.dims(), start[0].dims());
    let wanted = one_hot(labels, &sets[0], classes, &device);
    let transposed = training.clone().transpose();
    let mut weight = Adam::new(Tensor::zeros([width, classes], &device));
    let mut bias = Adam::new(Tensor::zeros([1, classes], &device));
    let mut best = (f64::INFINITY, weight.value.clone(), bias.value.clone());
    for step in 0..=steps {
        if step % LOOK == 0 || step == steps {
            let logits = start[1].clone() + linear(stopping.clone(), weight.value.clone(), None) + bias.value.clone();
            let nll: f64 = nll_of(logits, labels, &sets[1])?.iter().sum();
            if nll < best.0 {
                best = (nll, weight.value.clone(), bias.value.clone());
            }
        }
        let logits = start[0].clone() + linear(training.clone(), weight.value.clone(), None) + bias.value.clone();
        let off = (softmax(logits, 1) - wanted.clone()).div_scalar(samples as f64);
        let lr =
            LR / (width as f64).sqrt() * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps.max(1) as f64).cos());
        weight.step(linear(transposed.clone(), off.clone(), None), lr);
        bias.step(off.sum_dim(0), lr);
    }
    let ended = |start: &Tensor<2>, x: Tensor<2>| start.clone() + linear(x, best.1.clone(), None) + best.2.clone();
    Ok([ended(&start[0], training), ended(&start[1], stopping), ended(&start[2], test)])
}

/// How logits do on the test samples.
pub(super) fn scores(logits: &Logits, labels: &[usize], sets: &[Vec<usize>; 3]) -> Result<Scores, EvalError> {
    let likeliest = floats(logits[2].clone().argmax(1).float())?;
    let right = likeliest.iter().zip(&sets[2]).map(|(&found, &sample)| found as usize == labels[sample]).collect();
    Ok(Scores { nll: nll_of(logits[2].clone(), labels, &sets[2])?, right })
}

/// Negative log-likelihoods of the samples of a set, [N, C] to N.
fn nll_of(logits: Tensor<2>, labels: &[usize], set: &[usize]) -> Result<Vec<f64>, EvalError> {
    let targets: Vec<i64> = set.iter().map(|&sample| labels[sample] as i64).collect();
    let index = TensorData::new(targets, [set.len(), 1]);
    let index = Tensor::<2, Int>::from_data(index, &logits.device());
    floats(log_softmax(logits, 1).gather(1, index).neg())
}

/// Mean, and 1 over the standard deviation, of every column: [1, D] each. Columns that hardly vary stay as they are.
fn moments(x: &Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let mean = x.clone().mean_dim(0);
    let variance = (x.clone() - mean.clone()).square().mean_dim(0);
    let still = variance.clone().lower_elem(1e-12);
    (mean, variance.mask_fill(still, 1.0).sqrt().recip())
}

fn log_frequencies(labels: &[usize], training: &[usize], classes: usize) -> Vec<f64> {
    let mut counts = vec![1.0; classes];
    training.iter().for_each(|&sample| counts[labels[sample]] += 1.0);
    let all = (training.len() + classes) as f64;
    counts.iter().map(|count: &f64| (count / all).ln()).collect()
}

fn one_hot(labels: &[usize], set: &[usize], classes: usize, device: &Device) -> Tensor<2> {
    let mut values = vec![0f32; set.len() * classes];
    set.iter().enumerate().for_each(|(i, &sample)| values[i * classes + labels[sample]] = 1.0);
    Tensor::from_data(TensorData::new(values, [set.len(), classes]), device)
}

fn select(all: &Tensor<2>, rows: &[usize], device: &Device) -> Tensor<2> {
    let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
    let index = Tensor::<1, Int>::from_data(TensorData::new(rows.clone(), [rows.len()]), device);
    all.clone().cast(DType::F32).select(0, index)
}

/// A tensor and its moments (Kingma and Ba, 2015).
struct Adam {
    value: Tensor<2>,
    first: Tensor<2>,
    second: Tensor<2>,
    steps: i32,
}

impl Adam {
    fn new(value: Tensor<2>) -> Self {
        Self { first: value.zeros_like(), second: value.zeros_like(), value, steps: 0 }
    }

    fn step(&mut self, gradient: Tensor<2>, lr: f64) {
        let (beta1, beta2) = (0.9f64, 0.999f64);
        self.steps += 1;
        self.first = self.first.clone().mul_scalar(beta1) + gradient.clone().mul_scalar(1.0 - beta1);
        self.second = self.second.clone().mul_scalar(beta2) + gradient.square().mul_scalar(1.0 - beta2);
        let (first, second) = (1.0 - beta1.powi(self.steps), 1.0 - beta2.powi(self.steps));
        let spread = self.second.clone().div_scalar(second).sqrt().add_scalar(1e-8);
        self.value = self.value.clone() - (self.first.clone() / spread).mul_scalar(lr / first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors whose first two columns tell which of three classes it is, and sets of them.
    fn problem(noise: bool) -> (Tensor<2>, Vec<usize>, [Vec<usize>; 3]) {
        let device = contextlm_device::device("cpu").unwrap();
        let labels: Vec<usize> = (0..300).map(|i| (i * 7 + i / 3) % 3).collect();
        let value = |i: usize, d: usize| match (noise, d) {
            (false, 0) => [5.0, -3.0, 1.0][labels[i]],
            (false, 1) => [0.0, 2.0, 7.0][labels[i]],
            _ => ((i * 31 + d * 17) % 23) as f32,
        };
        let values: Vec<f32> = (0..300).flat_map(|i| (0..6).map(move |d| (i, d))).map(|(i, d)| value(i, d)).collect();
        let vectors = Tensor::from_data(TensorData::new(values, [300, 6]), &device);
        let sets = [(0..180).collect(), (180..240).collect(), (240..300).collect()];
        (vectors, labels, sets)
    }

    fn mean(logits: &Logits, labels: &[usize], sets: &[Vec<usize>; 3]) -> f64 {
        let nll = scores(logits, labels, sets).unwrap().nll;
        nll.iter().sum::<f64>() / nll.len() as f64
    }

    #[test]
    fn what_vectors_tell_is_found() {
        let (vectors, labels, sets) = problem(false);
        let base = frequency_logits(&labels, &sets, 3, &vectors.device());
        let found = regression(&vectors, &base, &labels, &sets, 150).unwrap();
        assert!(scores(&found, &labels, &sets).unwrap().right.iter().all(|&right| right));
        let (found, base) = (mean(&found, &labels, &sets), mean(&base, &labels, &sets));
        assert!(found < 0.5 * base, "{found} {base}");
    }

    #[test]
    fn noise_tells_nothing_and_takes_nothing_away() {
        let ((noise, labels, sets), (vectors, ..)) = (problem(true), problem(false));
        let base = frequency_logits(&labels, &sets, 3, &noise.device());
        let found = regression(&noise, &base, &labels, &sets, 150).unwrap();
        let gained = mean(&base, &labels, &sets) - mean(&found, &labels, &sets);
        assert!(gained.abs() < 0.05, "{gained}");
        let first = regression(&vectors, &base, &labels, &sets, 150).unwrap();
        let second = regression(&noise, &first, &labels, &sets, 150).unwrap();
        let lost = mean(&second, &labels, &sets) - mean(&first, &labels, &sets);
        assert!(lost < 0.02, "{lost}");
    }
}
