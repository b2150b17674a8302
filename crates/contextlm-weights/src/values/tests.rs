use std::io::{Seek, SeekFrom, Write};

use super::*;

/// A file with a matrix of bf16, which 0..256 fit exactly, behind some other bytes.
fn matrix(rows: usize, columns: usize) -> (File, Stored, Vec<f32>) {
    let values: Vec<f32> = (0..rows * columns).map(|i| ((i * 31 + i / 977) % 256) as f32).collect();
    let mut bytes = vec![9; 16];
    bytes.extend(values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()));
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    (file, Stored { dtype: Dtype::BF16, shape: vec![rows, columns], start: 16 }, values)
}

#[test]
fn a_tensor_of_many_pieces_is_read_whole_and_transposed() {
    let mut scratch = Vec::<f32>::new();
    for (rows, columns) in [(1000, 701), (3, PIECE + 1), (PIECE + 1, 2), (0, 5), (5, 0)] {
        let (file, stored, values) = matrix(rows, columns);
        assert_eq!(read::<f32>(&file, &stored).unwrap().values, values);
        let transposed = read_transposed(&file, &stored, [rows, columns], &mut scratch).unwrap().values;
        let expected: Vec<f32> = (0..rows * columns).map(|i| values[(i % rows) * columns + i / rows]).collect();
        assert!(transposed == expected, "{rows} x {columns}");
    }
}

#[test]
fn equality_sees_the_last_value() {
    let ((file, stored, _), (mut other, _, _)) = (matrix(1000, 701), matrix(1000, 701));
    assert!(equal((&file, &stored), (&other, &stored)).unwrap());
    other.seek(SeekFrom::End(-1)).unwrap();
    other.write_all(&[0xff]).unwrap();
    assert!(!equal((&file, &stored), (&other, &stored)).unwrap());
}

/// Every exponent of bf16 and f16, subnormal, infinite and NaN included, becomes what PyTorch makes of it in f32.
#[test]
fn halves_are_converted_as_by_pytorch() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/values");
    let tensors = |name: &str| {
        let file = File::open(fixtures.join(name)).unwrap();
        let header = crate::header::read_header(&file).unwrap();
        header.into_iter().map(move |(name, stored)| (name, read::<f32>(&file, &stored).unwrap().values))
    };
    // Which NaN it is says nothing.
    let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    for ((name, found), (_, expected)) in tensors("halves.safetensors").zip(tensors("expected.safetensors")) {
        assert!(found.len() > 100 && found.iter().zip(&expected).all(|(a, b)| same(*a, *b)), "{name}");
    }
}

/// In memory as in the file where the types are the same, rounded to the nearest where they are not.
#[test]
fn parameters_may_be_halves_in_memory() {
    let (file, stored, values) = matrix(300, 70);
    let halves: Vec<bf16> = values.iter().map(|&value| bf16::from_f32(value)).collect();
    assert!(read::<bf16>(&file, &stored).unwrap().values == halves);
    let turned = read_transposed::<bf16>(&file, &stored, [300, 70], &mut Vec::new()).unwrap().values;
    assert!((0..halves.len()).all(|i| turned[i] == halves[(i % 300) * 70 + i / 300]));

    let values = [1.0 + 1.0 / 512.0, 1.0 + 3.0 / 256.0, -1e-3, 1e38];
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytemuck::cast_slice(&values.map(f32::to_le_bytes))).unwrap();
    let stored = Stored { dtype: Dtype::F32, shape: vec![4], start: 0 };
    let Values { values: found, not_finite } = read::<bf16>(&file, &stored).unwrap();
    assert_eq!((found, not_finite), (values.map(bf16::from_f32).to_vec(), 0));
    // What does not fit is infinite, and is counted.
    let Values { values: found, not_finite } = read::<f16>(&file, &stored).unwrap();
    assert_eq!((found, not_finite), (values.map(f16::from_f32).to_vec(), 1));
}
