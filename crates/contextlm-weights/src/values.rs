use std::fs::File;
use std::io;

use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;

use crate::header::Stored;
use crate::value::Value;

/// Values that are read at once: enough to make the calls cheap, and a piece of a matrix that stays in the cache.
const PIECE: usize = 1 << 18;

fn no_floats(dtype: Dtype) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{dtype:?} are no floats to read"))
}

/// Whether the values of a type can be read.
pub(crate) fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// Values, and how many of them are infinite or no number.
pub(crate) struct Values<V> {
    pub(crate) values: Vec<V>,
    pub(crate) not_finite: usize,
}

/// All values of a tensor in order.
pub(crate) fn read<V: Value>(file: &File, tensor: &Stored) -> io::Result<Values<V>> {
    let mut values = bytemuck::zeroed_vec(tensor.len());
    let not_finite = read_into(file, tensor, &mut values)?;
    Ok(Values { values, not_finite })
}

/// Fills `all` with a tensor's values, pieces of it on all threads; gives how many are not finite.
fn read_into<V: Value>(file: &File, tensor: &Stored, all: &mut [V]) -> io::Result<usize> {
    let size = (tensor.dtype.bitsize() / 8) as u64;
    let read = |(number, piece): (usize, &mut [V])| {
        let at = tensor.start + (number * PIECE) as u64 * size;
        read_piece(file, tensor.dtype, at, piece)?;
        // Now, while they are in the cache.
        Ok(piece.iter().filter(|value| !value.widened().is_finite()).count())
    };
    all.par_chunks_mut(PIECE).enumerate().map(read).sum()
}

fn read_piece<V: Value>(file: &File, dtype: Dtype, at: u64, into: &mut [V]) -> io::Result<()> {
    if dtype == V::STORED && cfg!(target_endian = "little") {
        // As they are in the file.
        return read_exact_at(file, bytemuck::cast_slice_mut(into), at);
    }
    let mut bytes = vec![0; into.len() * dtype.bitsize() / 8];
    read_exact_at(file, &mut bytes, at)?;
    fn fill<const N: usize, V: Value>(into: &mut [V], bytes: &[u8], value: impl Fn([u8; N]) -> f32) {
        for (into, word) in into.iter_mut().zip(bytes.as_chunks().0) {
            *into = V::nearest(value(*word));
        }
    }
    match dtype {
        Dtype::F32 => fill(into, &bytes, f32::from_le_bytes),
        Dtype::F16 => fill(into, &bytes, |word| f16::from_le_bytes(word).to_f32()),
        Dtype::BF16 => fill(into, &bytes, |word| bf16::from_le_bytes(word).to_f32()),
        other => return Err(no_floats(other)),
    }
    Ok(())
}

/// Reads without moving the place that the file is at, which threads share.
#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => (bytes, at) = (&mut bytes[count..], at + count as u64),
        }
    }
    Ok(())
}

/// The values of a matrix [rows, columns] in the order of its transpose. `scratch` is used for the order of the file: new
/// memory costs more than the reading, so that one is kept for all matrices.
pub(crate) fn read_transposed<V: Value>(
    file: &File,
    tensor: &Stored,
    [rows, columns]: [usize; 2],
    scratch: &mut Vec<V>,
) -> io::Result<Values<V>> {
    /// Rows and columns that are turned together: both sides stay in the nearest cache.
    const BLOCK: usize = 32;
    if scratch.len() < rows * columns {
        // Not both at once.
        *scratch = Vec::new();
        *scratch = bytemuck::zeroed_vec(rows * columns);
    }
    let source = &mut scratch[..rows * columns];
    let not_finite = read_into(file, tensor, source)?;
    let source = &*source;
    let mut all = bytemuck::zeroed_vec(rows * columns);
    all.par_chunks_mut((BLOCK * rows).max(1)).enumerate().for_each(|(number, turned): (_, &mut [V])| {
        let (first, width) = (number * BLOCK, turned.len() / rows);
        // By way of a small square: rows of both matrices are a power of two apart, and would push each other out of the
        // cache.
        let mut square = [V::zeroed(); BLOCK * BLOCK];
        for from in (0..rows).step_by(BLOCK) {
            let height = BLOCK.min(rows - from);
            for (row, square) in square.chunks_mut(BLOCK).take(height).enumerate() {
                square[..width].copy_from_slice(&source[(from + row) * columns + first..][..width]);
            }
            for (column, turned) in turned.chunks_mut(rows).enumerate() {
                for (row, value) in turned[from..from + height].iter_mut().enumerate() {
                    *value = square[row * BLOCK + column];
                }
            }
        }
    });
    Ok(Values { values: all, not_finite })
}

/// Whether two tensors of the same shape have the same values.
pub(crate) fn equal(first: (&File, &Stored), second: (&File, &Stored)) -> io::Result<bool> {
    let count = first.1.len();
    let (mut a, mut b) = (vec![0_f32; PIECE.min(count)], vec![0_f32; PIECE.min(count)]);
    for from in (0..count).step_by(PIECE) {
        let here = PIECE.min(count - from);
        for ((file, tensor), values) in [(first, &mut a), (second, &mut b)] {
            let at = tensor.start + (from * tensor.dtype.bitsize() / 8) as u64;
            read_piece(file, tensor.dtype, at, &mut values[..here])?;
        }
        if a[..here].iter().zip(&b[..here]).any(|(a, b)| a.to_bits() != b.to_bits()) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
