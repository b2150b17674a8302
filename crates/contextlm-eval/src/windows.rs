use burn::tensor::TensorData;
use contextlm_core::{Device, Int, Tensor};
use contextlm_data::Tokens;
use contextlm_generate::GenerateError;

use crate::EvalError;

/// What counts as one text where standard errors are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextUnit {
    /// Every window.
    Windows,
    /// Every sequence of tokens: all windows of a document together.
    Sequences,
}

/// Windows of equal length from all over some sequences of tokens, each with the token after it.
///
/// Every sequence is cut into disjoint windows; where fewer are asked for than there are, they are taken at equal distances, so
/// that they come from as many places as possible. An incomplete last window of a sequence is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    length: usize,
    tokens: Vec<Vec<u32>>,
    /// The text that each window belongs to.
    texts: Vec<usize>,
    /// The sequence that it was cut from.
    sequences: Vec<usize>,
    count: usize,
}

impl Windows {
    /// Windows of `length` inputs (T), in all at most `limit` inputs.
    ///
    /// # Errors
    /// [`EvalError::Setting`] if there are not at least two windows, or with [`TextUnit::Sequences`] windows of two
    /// sequences; [`EvalError::Data`] if tokens cannot be read.
    pub fn new(sequences: &[Tokens], length: usize, limit: Option<usize>, unit: TextUnit) -> Result<Self, EvalError> {
        let of = |sequence: &Tokens| sequence.len().saturating_sub(1).checked_div(length).unwrap_or(0);
        // Windows before each sequence.
        let mut before = vec![0];
        sequences.iter().for_each(|sequence| before.push(before[before.len() - 1] + of(sequence)));
        let all = before[sequences.len()];
        if all < 2 {
            let longest = sequences.iter().map(Tokens::len).max().unwrap_or(0);
            let fix =
                format!("two windows, each with the token after it, are needed; the longest text has {longest} tokens");
            return Err(EvalError::setting("window", length, fix));
        }
        let count = limit.map_or(all, |limit| limit / length).min(all);
        if count < 2 {
            let fix = format!("must be at least two windows, {}", 2 * length);
            return Err(EvalError::setting("limit", limit.unwrap_or_default(), fix));
        }
        let (mut tokens, mut owners) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for i in 0..count {
            let window = (i as u128 * all as u128 / count as u128) as usize;
            let owner = before.partition_point(|&before| before <= window) - 1;
            tokens.push(sequences[owner].window((window - before[owner]) * length, length + 1)?.into_owned());
            owners.push(owner);
        }
        let texts: Vec<usize> = match unit {
            TextUnit::Windows => (0..count).collect(),
            TextUnit::Sequences => {
                let mut met = owners.clone();
                met.dedup();
                owners.iter().map(|owner| met.partition_point(|other| other < owner)).collect()
            }
        };
        let count = texts.last().map_or(0, |last| last + 1);
        if count < 2 {
            let fix = "all windows are of one document, which has no standard error: leave it out";
            return Err(EvalError::setting("documents", true, fix));
        }
        Ok(Self { length, tokens, texts, sequences: owners, count })
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

    /// Whether all windows are of one sequence, in which no window is of another text for certain.
    pub(crate) fn one_sequence(&self) -> bool {
        self.sequences.first() == self.sequences.last()
    }

    /// A window of another sequence: the nearest one from half of all windows on. Where there is but one sequence, the
    /// window half of all windows away.
    pub(crate) fn partner(&self, window: usize) -> usize {
        let (len, half) = (self.len(), self.len() / 2);
        let other = |ahead: usize| (window + ahead) % len;
        let mut candidates = (half..len).chain(1..half).map(other);
        match self.one_sequence() {
            true => other(half),
            false => {
                candidates.find(|&other| self.sequences[other] != self.sequences[window]).unwrap_or_else(|| other(half))
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences(lengths: &[u32]) -> Vec<Tokens> {
        lengths.iter().map(|&length| Tokens::from((0..length).collect::<Vec<_>>())).collect()
    }

    #[test]
    fn windows_come_from_all_over_the_text() {
        let windows = Windows::new(&sequences(&[101]), 10, Some(39), TextUnit::Windows).unwrap();
        let starts: Vec<u32> = (0..windows.len()).map(|i| windows.tokens(i)[0]).collect();
        assert_eq!(starts, [0, 30, 60]);
        assert_eq!(windows.targets(&[1])[0], 31);
        assert_eq!(windows.tokens(2).len(), 11);
        let all = Windows::new(&sequences(&[101]), 10, None, TextUnit::Windows).unwrap();
        assert_eq!((all.len(), all.texts(), all.partner(7)), (10, 10, 2));
    }

    #[test]
    fn sequences_are_cut_each_on_its_own() {
        // Two windows of the first, none of the second, one of the third.
        let all = sequences(&[25, 10, 11]);
        let windows = Windows::new(&all, 10, None, TextUnit::Sequences).unwrap();
        assert_eq!((windows.texts.clone(), windows.texts()), (vec![0, 0, 1], 2));
        assert_eq!((0..3).map(|i| windows.tokens(i)[0]).collect::<Vec<_>>(), [0, 10, 0]);
        let one = Windows::new(&all[..1], 10, None, TextUnit::Sequences).unwrap_err().to_string();
        assert!(one.contains("documents = true: all windows are of one document"), "{one}");
    }

    /// The first document has most of the windows: half of all windows away is still the same text.
    #[test]
    fn a_partner_is_of_another_sequence_where_there_are_two() {
        let windows = Windows::new(&sequences(&[61, 21]), 10, None, TextUnit::Sequences).unwrap();
        assert_eq!((windows.len(), windows.one_sequence()), (8, false));
        let partners: Vec<usize> = (0..8).map(|window| windows.partner(window)).collect();
        assert_eq!(partners, [6, 6, 6, 7, 6, 6, 2, 3]);
        assert!(
            partners.iter().enumerate().all(|(window, &other)| windows.sequences[window] != windows.sequences[other])
        );
        let stream = Windows::new(&sequences(&[81]), 10, None, TextUnit::Windows).unwrap();
        assert_eq!((stream.one_sequence(), stream.partner(1)), (true, 5));
    }

    #[test]
    fn too_little_is_an_error_that_says_how_much_is_needed() {
        let error = |tokens, length, limit| {
            Windows::new(&sequences(&[tokens]), length, limit, TextUnit::Windows).unwrap_err().to_string()
        };
        assert!(error(20, 10, None).contains("the longest text has 20 tokens"));
        assert!(error(20, 0, None).contains("window = 0"));
        assert!(error(100, 10, Some(19)).contains("limit = 19: must be at least two windows, 20"));
        assert!(Windows::new(&[], 10, None, TextUnit::Windows).is_err());
    }
}
