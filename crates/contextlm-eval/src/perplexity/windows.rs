use contextlm_data::Tokens;

use crate::EvalError;
use crate::score::Request;

/// The windows of a sequence.
#[derive(Debug)]
pub(super) struct Windows {
    length: usize,
    window: usize,
    stride: usize,
    start: usize,
    /// The first token that was not scored yet.
    next: usize,
}

/// Which tokens a window has, and which of them it scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Its first token.
    pub start: usize,
    /// The first token that it scores.
    pub first: usize,
    /// One behind the last token that it scores.
    pub end: usize,
}

impl Windows {
    /// `window` and `stride` are at least 1.
    pub fn new(length: usize, window: usize, stride: usize) -> Self {
        Self { length, window, stride, start: 0, next: 1 }
    }
}

impl Iterator for Windows {
    type Item = Window;

    fn next(&mut self) -> Option<Window> {
        if self.next >= self.length {
            return None;
        }
        let disjoint = self.stride == self.window;
        loop {
            // Where windows are disjoint, the last input scores the token behind the window; else it scores none.
            let reach = if disjoint { self.window + 1 } else { self.window };
            let window = Window { start: self.start, first: self.next, end: self.length.min(self.start + reach) };
            self.start += self.stride;
            // A window of one token has nothing to score, nor has one that ends where another has.
            if window.first < window.end {
                self.next = window.end;
                return Some(window);
            }
        }
    }
}

impl Window {
    pub fn request(&self, tokens: &Tokens) -> Result<Request, EvalError> {
        let tokens = tokens.window(self.start, self.end - self.start)?;
        let (context, continuation) = tokens.split_at(self.first - self.start);
        Ok(Request { context: context.to_vec(), continuation: continuation.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(length: usize, window: usize, stride: usize) -> Vec<[usize; 3]> {
        Windows::new(length, window, stride).map(|found| [found.start, found.first, found.end]).collect()
    }

    #[test]
    fn the_example_of_the_book() {
        assert_eq!(windows(10, 4, 4), [[0, 1, 5], [4, 5, 9], [8, 9, 10]]);
        assert_eq!(windows(10, 4, 2), [[0, 1, 4], [2, 4, 6], [4, 6, 8], [6, 8, 10]]);
    }

    /// As the loop of Hugging Face's guide goes.
    #[test]
    fn strided_windows_are_those_of_the_guide() {
        for length in 2..40 {
            for window in 2..12 {
                for stride in 1..window {
                    let (mut expected, mut before, mut begin) = (Vec::new(), 0, 0);
                    loop {
                        let end = length.min(begin + window);
                        // Labels are shifted: the first token of a window has no score.
                        let first = before.max(begin + 1);
                        if first < end {
                            expected.push([begin, first, end]);
                        }
                        before = end;
                        if end == length {
                            break;
                        }
                        begin += stride;
                    }
                    assert_eq!(windows(length, window, stride), expected, "{length} {window} {stride}");
                }
            }
        }
    }

    #[test]
    fn every_token_but_the_first_is_scored_once_with_something_before_it() {
        for length in 0..40 {
            for window in 1..12 {
                for stride in 1..=window {
                    if window == 1 && stride == 1 || window > 1 {
                        let found = windows(length, window, stride);
                        let scored: Vec<usize> = found.iter().flat_map(|&[_, first, end]| first..end).collect();
                        assert_eq!(scored, (1..length).collect::<Vec<_>>(), "{length} {window} {stride}");
                        assert!(found.iter().all(|&[start, first, end]| first > start && end - start <= window + 1));
                    }
                }
            }
        }
    }
}
