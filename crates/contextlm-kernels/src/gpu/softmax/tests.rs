use burn::backend::ops::FloatTensorOps;
use burn::tensor::TensorData;
use burn_cubecl::ops::into_data_sync;
use burn_cubecl::{CubeBackend, CubeDevice};

use super::*;

const HEADS: usize = 2;

fn device() -> CubeDevice {
    CubeDevice::Wgpu(Default::default())
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> CubeTensor {
    CubeBackend::float_from_data(TensorData::new(values, shape), &device())
}

fn values(tensor: CubeTensor) -> Vec<f32> {
    into_data_sync(tensor).try_to_vec().unwrap()
}

fn noise(count: usize, seed: f32) -> Vec<f32> {
    (0..count).map(|i| 2.0 * (i as f32 * 1.7 + seed).sin()).collect()
}

/// Where the columns end that products read in a row.
fn end_of_tile(row: usize, length: usize) -> usize {
    ((row / ROWS + 1) * ROWS).min(length)
}

/// Scores that only tiles up to the diagonal of were written, amid memory of anything.
fn unwritten(scores: &[f32], length: usize) -> Vec<f32> {
    let is_there = |at: usize| at % length < end_of_tile(at / length % length, length);
    scores.iter().enumerate().map(|(at, score)| if is_there(at) { *score } else { f32::NAN }).collect()
}

/// New tensors of so many numbers get memory of anything.
fn spoil(count: usize) {
    let spoilt: Vec<_> = (0..8).map(|_| tensor(vec![f32::NAN; count], [count])).collect();
    assert!(spoilt.into_iter().all(|tensor| values(tensor)[0].is_nan()));
}

/// With what is above the diagonal left out: the same numbers, and zeros where products read on.
#[test]
fn causal_rows_end_with_their_tiles() {
    for length in [128, 200, 130, 5] {
        let shape = [1, HEADS, length, length];
        let count = HEADS * length * length;
        let (scores, for_p) = (noise(count, 1.0), noise(count, 2.0));
        let mask = |at: usize| if at % length > at / length { -1e30 } else { 0.0 };
        let bias = || tensor((0..length * length).map(mask).collect(), [1, 1, length, length]);
        let along = || tensor(noise(HEADS * length, 3.0), [1, HEADS, length, 1]);
        let run = |scores: Vec<f32>, for_p: Vec<f32>, causal: bool| {
            let (scores, for_p) = (tensor(scores, shape), tensor(for_p, shape));
            spoil(count);
            let (p, sums) = forward(scores.clone(), bias(), 0.3, causal);
            let again = backward(scores, bias(), [sums.clone(), along()], for_p, 0.3, causal);
            (values(sums), [p, again.0, again.1].map(values))
        };
        let (expected_sums, expected) = run(scores.clone(), for_p.clone(), false);
        let (sums, found) = run(unwritten(&scores, length), unwritten(&for_p, length), true);
        assert_eq!(sums, expected_sums, "{length}");
        for ((found, expected), what) in found.iter().zip(&expected).zip(["p", "p again", "for_scores"]) {
            for row in 0..HEADS * length {
                let all = row * length..row * length + end_of_tile(row % length, length);
                assert_eq!(found[all.clone()], expected[all], "{what} of {length}, row {row}");
            }
        }
    }
}
