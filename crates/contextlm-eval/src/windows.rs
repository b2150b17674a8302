use burn::tensor::TensorData;
use contextlm_core::{Device, Int, Tensor};
use contextlm_data::Tokens;
use contextlm_generate::GenerateError;
use serde::Serialize;

use crate::EvalError;

/// What counts as one text where standard errors are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TextUnit {
    /// Every window.
    Windows,
    /// All windows that begin in the same document; needs to know the end-of-text id that documents begin with.
    Documents {
        /// This id.
        end_of_text: u32,
    },
}

/// Windows of equal length from all over a stream of tokens, each with the token after it.
///
/// The stream is cut into disjoint windows; where fewer are asked for than there are, they are taken at equal distances, so that
/// they come from as many documents as possible. An incomplete last window is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    length: usize,
    tokens: Vec<Vec<u32>>,
    /// The text that each window belongs to.
    texts: Vec<usize>,
    count: usize,
}

impl Windows {
    /// Windows of `length` inputs (T), in all at most `limit` of them.
    ///
    /// # Errors
    /// [`EvalError::Setting`] if there are not at least two windows, or with [`TextUnit::Documents`] fewer than two
    /// documents; [`EvalError::Data`] if the tokens cannot be read.
    pub fn new(stream: &Tokens, length: usize, limit: Option<usize>, unit: TextUnit) -> Result<Self, EvalError> {
        let all = stream.len().saturating_sub(1).checked_div(length).unwrap_or(0);
        if all < 2 {
            let fix = format!("the text has {} tokens; two windows and one token more are needed", stream.len());
            return Err(EvalError::setting("window", length, fix));
        }
        let count = limit.map_or(all, |limit| limit / length).min(all);
        if count < 2 {
            let fix = format!("must be at least two windows, {}", 2 * length);
            return Err(EvalError::setting("limit", limit.unwrap_or_default(), fix));
        }
        let starts: Vec<usize> =
            (0..count).map(|i| (i as u128 * all as u128 / count as u128) as usize * length).collect();
        let tokens = starts.iter().map(|&start| read(stream, start, length + 1)).collect::<Result<Vec<_>, _>>()?;
        let texts = match unit {
            TextUnit::Windows => (0..count).collect(),
            TextUnit::Documents { end_of_text } => documents(stream, &starts, end_of_text)?,
        };
        let count = texts.last().map_or(0, |last| last + 1);
        if count < 2 {
            let fix = "all windows are of one document: count windows as texts";
            return Err(EvalError::setting("standard errors", "documents", fix));
        }
        Ok(Self { length, tokens, texts, count })
    }

    /// Number of windows.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Never: there are at least two.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Inputs of a window, T.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Number of texts.
    pub fn texts(&self) -> usize {
        self.count
    }

    /// The text that a window belongs to.
    pub(crate) fn text_of(&self, window: usize) -> usize {
        self.texts[window]
    }

    /// Another window, as far away as can be.
    pub(crate) fn partner(&self, window: usize) -> usize {
        (window + self.len() / 2) % self.len()
    }

    /// All tokens of a window, T + 1.
    pub(crate) fn tokens(&self, window: usize) -> &[u32] {
        &self.tokens[window]
    }

    /// Inputs of some windows, [B, T].
    pub(crate) fn inputs(&self, windows: &[usize], device: &Device) -> Tensor<2, Int> {
        let ids = windows.iter().flat_map(|&window| &self.tokens[window][..self.length]);
        let ids: Vec<i64> = ids.map(|&id| id.into()).collect();
        Tensor::from_data(TensorData::new(ids, [windows.len(), self.length]), device)
    }

    /// The token after every input, B*T.
    pub(crate) fn targets(&self, windows: &[usize]) -> Vec<u32> {
        windows.iter().flat_map(|&window| &self.tokens[window][1..]).copied().collect()
    }

    /// Checks that a model can take the windows: a backend would panic over an id that is no token.
    pub(crate) fn check(&self, vocabulary: usize) -> Result<(), EvalError> {
        for (row, tokens) in self.tokens.iter().enumerate() {
            if let Some(&token) = tokens.iter().find(|&&id| id as usize >= vocabulary) {
                return Err(GenerateError::Token { row, token, vocabulary }.into());
            }
        }
        Ok(())
    }
}

fn read(stream: &Tokens, start: usize, count: usize) -> Result<Vec<u32>, EvalError> {
    Ok(match stream {
        Tokens::Memory(tokens) => tokens[start..start + count].to_vec(),
        Tokens::Shards(shards) => shards.read(start, count)?,
    })
}

/// The document that each window begins in, numbered as they are met; a document begins at its end-of-text id.
fn documents(stream: &Tokens, starts: &[usize], end_of_text: u32) -> Result<Vec<usize>, EvalError> {
    const PIECE: usize = 1 << 20;
    let mut numbers = Vec::with_capacity(starts.len());
    let (mut document, mut piece, mut piece_start) = (0usize, Vec::new(), 0);
    let mut at = 0;
    for &start in starts {
        while at <= start {
            if at == piece_start + piece.len() {
                (piece, piece_start) = (read(stream, at, PIECE.min(stream.len() - at))?, at);
            }
            document += usize::from(piece[at - piece_start] == end_of_text);
            at += 1;
        }
        numbers.push(document);
    }
    let mut met = numbers.clone();
    met.dedup();
    Ok(numbers.into_iter().map(|number| met.partition_point(|&other| other < number)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(tokens: Vec<u32>) -> Tokens {
        Tokens::Memory(tokens.into())
    }

    #[test]
    fn windows_come_from_all_over_the_text() {
        let windows = Windows::new(&stream((0..101).collect()), 10, Some(39), TextUnit::Windows).unwrap();
        let starts: Vec<u32> = (0..windows.len()).map(|i| windows.tokens(i)[0]).collect();
        assert_eq!(starts, [0, 30, 60]);
        assert_eq!(windows.targets(&[1])[0], 31);
        assert_eq!(windows.tokens(2).len(), 11);
        let all = Windows::new(&stream((0..101).collect()), 10, None, TextUnit::Windows).unwrap();
        assert_eq!((all.len(), all.texts(), all.partner(7)), (10, 10, 2));
    }

    #[test]
    fn documents_begin_at_their_end_of_text_id() {
        let mut tokens = vec![1; 41];
        for start in [0, 9, 20, 22, 35] {
            tokens[start] = 0;
        }
        let windows = Windows::new(&stream(tokens), 10, None, TextUnit::Documents { end_of_text: 0 }).unwrap();
        // Windows at 0, 10, 20 and 30 begin in documents 1, 2, 3 and 4.
        assert_eq!(windows.texts, [0, 1, 2, 3]);
        let mut tokens = vec![1; 41];
        tokens[15] = 0;
        let windows = Windows::new(&stream(tokens.clone()), 10, None, TextUnit::Documents { end_of_text: 0 }).unwrap();
        assert_eq!(windows.texts, [0, 0, 1, 1]);
        let one = Windows::new(&stream(tokens), 10, None, TextUnit::Documents { end_of_text: 7 });
        assert!(one.unwrap_err().to_string().contains("all windows are of one document"));
    }

    #[test]
    fn too_little_is_an_error_that_says_how_much_is_needed() {
        let error = |tokens, length, limit| {
            Windows::new(&stream(vec![0; tokens]), length, limit, TextUnit::Windows).unwrap_err().to_string()
        };
        assert!(error(20, 10, None).contains("the text has 20 tokens"));
        assert!(error(20, 0, None).contains("window = 0"));
        assert!(error(100, 10, Some(19)).contains("limit = 19: must be at least two windows, 20"));
    }
}
