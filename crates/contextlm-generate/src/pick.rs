use burn::tensor::{Int, Tensor, TensorData};

/// Entries of every row by their numbers; shorter rows are filled up with their entry 0.
///
/// # Shapes
/// [B, N, D] to [B, M, D], M the longest of `index`'s rows
pub(crate) fn pick(all: Tensor<3>, index: &[Vec<usize>]) -> Tensor<3> {
    let device = all.device();
    let [rows, count, width] = all.dims();
    let longest = index.iter().map(Vec::len).max().unwrap_or(0);
    let numbers = |values: Vec<i64>| {
        let length = values.len();
        Tensor::<1, Int>::from_data(TensorData::new(values, [length]), &device)
    };
    if index.windows(2).all(|pair| pair[0] == pair[1]) {
        let first = index.first().map_or(&[][..], Vec::as_slice);
        if first.is_empty() || first.windows(2).all(|pair| pair[0] + 1 == pair[1]) {
            return all.narrow(1, first.first().copied().unwrap_or(0), longest);
        }
        return all.select(1, numbers(first.iter().map(|&i| i as i64).collect()));
    }
    let flat = index.iter().enumerate().flat_map(|(row, picked)| {
        (0..longest).map(move |i| (row * count + picked.get(i).copied().unwrap_or(0)) as i64)
    });
    let flat = numbers(flat.collect());
    all.reshape([rows * count, width]).select(0, flat).reshape([rows, longest, width])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_may_differ() {
        let device = contextlm_device::device("cpu").unwrap();
        let all = Tensor::<3>::from_floats([[[0.0], [1.0], [2.0]], [[3.0], [4.0], [5.0]]], &device);
        let values = |index: [Vec<usize>; 2]| pick(all.clone(), &index).into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(values([vec![1, 2], vec![1, 2]]), [1.0, 2.0, 4.0, 5.0]);
        assert_eq!(values([vec![2, 0], vec![2, 0]]), [2.0, 0.0, 5.0, 3.0]);
        assert_eq!(values([vec![2], vec![2, 1]]), [2.0, 0.0, 5.0, 4.0]);
        assert_eq!(values([vec![], vec![1]]), [0.0, 4.0]);
    }
}
