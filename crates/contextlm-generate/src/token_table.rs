use burn::tensor::{Device, Int, Tensor, TensorData};

/// Tokens of every row, shorter rows filled up behind with token 0. Nothing attends to what comes later, so the states of a
/// row's own tokens do not depend on what fills it up.
///
/// # Shapes
/// [B, T], T the longest row's tokens
pub fn token_table(rows: &[&[u32]], device: &Device) -> Tensor<2, Int> {
    let longest = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let filled = |row: &&[u32]| {
        let mut row: Vec<i64> = row.iter().map(|&token| token.into()).collect();
        row.resize(longest, 0);
        row
    };
    let values: Vec<i64> = rows.iter().flat_map(filled).collect();
    Tensor::from_data(TensorData::new(values, [rows.len(), longest]), device)
}
