//! The position rule through real tensors.

use burn::tensor::{Tensor, TensorData};
use contextlm_core::{ChunkGrid, Documents};
use contextlm_tests::{cpu, values};

/// Which context every position gets: contexts are labelled by their number and spread over the tokens.
fn guides(grid: &ChunkGrid, rows: usize) -> Vec<usize> {
    let count = grid.chunks() + 1;
    let labels: Vec<f32> = (0..rows * count).map(|i| (i % count) as f32).collect();
    let contexts = Tensor::<3>::from_data(TensorData::new(labels, [rows, count, 1]), &cpu());
    values(grid.spread(contexts)).into_iter().map(|label| label as usize).collect()
}

/// The same by decoding token by token: a chunk that is complete predicts the next before its last position is decoded.
fn simulate(length: usize, chunk_size: usize) -> Vec<usize> {
    let (mut open, mut predictions) = (0, 0);
    (0..length)
        .map(|_| {
            open += 1;
            if open == chunk_size {
                open = 0;
                predictions += 1;
            }
            predictions
        })
        .collect()
}

#[test]
fn the_groups_are_those_of_figure_2() {
    let expected = [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3];
    assert_eq!(guides(&ChunkGrid::uniform(12, 4), 1), expected);
    let documents = Documents::new(vec![vec![0]], 12).unwrap();
    assert_eq!(guides(&ChunkGrid::packed(&documents, 4), 1), expected);
}

#[test]
fn the_closed_form_is_what_decoding_does() {
    for length in 1..=40 {
        for chunk_size in 1..=8 {
            let expected = simulate(length, chunk_size);
            assert_eq!(guides(&ChunkGrid::uniform(length, chunk_size), 1), expected, "T = {length}, w = {chunk_size}");
            let documents = Documents::new(vec![vec![0]; 2], length).unwrap();
            let packed = guides(&ChunkGrid::packed(&documents, chunk_size), 2);
            assert_eq!(packed, expected.repeat(2), "packed, T = {length}, w = {chunk_size}");
        }
    }
}

#[test]
fn the_rule_restarts_at_every_document() {
    // Documents of 5, 1 and 6 tokens: chunks 1 and 2 of the first are contexts 1 and 2, the third's follow.
    let documents = Documents::new(vec![vec![0, 5, 6]], 12).unwrap();
    let grid = ChunkGrid::packed(&documents, 2);
    assert_eq!(guides(&grid, 1), [0, 1, 1, 2, 2, 0, 0, 3, 3, 4, 4, 5]);
    assert_eq!((grid.chunks(), grid.predicted_chunks(1)), (5, 3));
}
