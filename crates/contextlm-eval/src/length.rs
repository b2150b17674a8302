//! Perplexity by length and by position, within and beyond the length of the training.

mod buckets;
mod report;

use contextlm_core::{Backbone, ContextLm, Device};
use contextlm_generate::{Beyond, DecoderState};

pub use self::report::{AtLength, LengthReport, PositionBucket};

use self::buckets::Buckets;
use crate::estimate::Sums;
use crate::nll::nll;
use crate::score::TokenScorer;
use crate::{EvalError, Windows};

/// Tokens that go through the model at once; what they attend to is in caches, so that memory grows with the length and not with
/// its square.
const PIECE: usize = 1024;

/// Settings of [`length_report`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LengthOptions {
    /// Numbers of inputs of a window.
    pub lengths: Vec<usize>,
    /// Length of the training; the model's maximum positions if not given.
    pub trained: Option<usize>,
}

impl LengthOptions {
    /// The lengths in order, each once, checked against a model.
    ///
    /// # Errors
    /// [`EvalError::Setting`] if there is none, or one is 0 or beyond learned positions.
    pub fn lengths<B: Backbone>(&self, model: &ContextLm<B>) -> Result<Vec<usize>, EvalError> {
        let spec = model.backbone.spec();
        let mut lengths = self.lengths.clone();
        lengths.sort_unstable();
        lengths.dedup();
        let (Some(&shortest), Some(&longest)) = (lengths.first(), lengths.last()) else {
            return Err(EvalError::setting("lengths", "none", "give at least one"));
        };
        if shortest == 0 {
            return Err(EvalError::setting("lengths", 0, "must be at least 1"));
        }
        let most = spec.max_positions;
        if longest > most && spec.predictor_block.rotary.is_none() {
            let fix =
                format!("positions are learned and there are {most}: only rotary ones go beyond; give at most {most}");
            return Err(EvalError::setting("lengths", longest, fix));
        }
        if self.trained == Some(0) {
            return Err(EvalError::setting("trained", 0, "must be at least 1"));
        }
        Ok(lengths)
    }
}

/// Losses of the same tokens in windows of several lengths. `windows` have the longest of them; each is cut into disjoint ones
/// of every shorter length, the last of which may be short. So every length scores every token, with more or less before it.
///
/// # Errors
/// As [`LengthOptions::lengths`]; [`EvalError::Setting`] if the windows do not have the longest length;
/// [`EvalError::Generate`] for a token that the model does not know.
pub fn length_report<B: Backbone>(
    model: &ContextLm<B>,
    windows: &Windows,
    options: &LengthOptions,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<LengthReport, EvalError> {
    let lengths = options.lengths(model)?;
    let longest = windows.length();
    if lengths.last() != Some(&longest) {
        return Err(EvalError::setting("window", longest, "must be the longest of the lengths"));
    }
    let spec = model.backbone.spec();
    windows.check(spec.vocabulary)?;
    let trained = options.trained.unwrap_or(spec.max_positions);
    let all = lengths.len() * windows.len() * longest;
    let mut done = 0;
    let scorer = TokenScorer::new(model);
    let mut found = Vec::new();
    for length in lengths {
        let mut sums = Sums::new(windows.texts());
        let mut buckets = Buckets::new(length, trained, windows.texts());
        for pieces in batches(windows, length) {
            let losses = losses(model, &scorer, windows, &pieces, device)?;
            for (piece, losses) in pieces.iter().zip(losses) {
                let text = windows.text_of(piece.window);
                for (position, loss) in losses.into_iter().enumerate() {
                    sums.add(text, loss);
                    buckets.add(position, text, loss);
                    done += 1;
                }
            }
            progress(done, all);
        }
        found.push((length, sums, buckets));
    }
    report::report(windows, trained, found)
}

/// Part of a window that is scored as one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    window: usize,
    start: usize,
    length: usize,
}

/// Pieces of one length together, as many as have [`PIECE`] tokens.
fn batches(windows: &Windows, length: usize) -> Vec<Vec<Piece>> {
    let longest = windows.length();
    let pieces = (0..windows.len()).flat_map(|window| {
        (0..longest).step_by(length).map(move |start| Piece { window, start, length: length.min(longest - start) })
    });
    let (whole, short): (Vec<Piece>, Vec<Piece>) = pieces.partition(|piece| piece.length == length);
    let rows = (PIECE / length).max(1);
    whole.chunks(rows).chain(short.chunks(rows)).map(<[Piece]>::to_vec).collect()
}

/// The loss of every token of some pieces of one length.
fn losses<B: Backbone>(
    model: &ContextLm<B>,
    scorer: &TokenScorer,
    windows: &Windows,
    pieces: &[Piece],
    device: &Device,
) -> Result<Vec<Vec<f64>>, EvalError> {
    let length = pieces.first().map_or(0, |piece| piece.length);
    let beyond = if length > model.backbone.spec().max_positions { Beyond::Continue } else { Beyond::Stop };
    let mut state = DecoderState::new(model, pieces.len(), length, beyond, device)?;
    let mut losses = vec![Vec::with_capacity(length); pieces.len()];
    let step = (PIECE / pieces.len()).max(1);
    for from in (0..length).step_by(step) {
        let to = length.min(from + step);
        let part = |piece: &Piece, shift: usize| {
            let start = piece.start + shift;
            &windows.tokens(piece.window)[start + from..start + to]
        };
        let inputs: Vec<&[u32]> = pieces.iter().map(|piece| part(piece, 0)).collect();
        let targets: Vec<u32> = pieces.iter().flat_map(|piece| part(piece, 1)).copied().collect();
        let found = nll(scorer, state.feed_states(&inputs)?, &targets)?;
        for (losses, found) in losses.iter_mut().zip(found.chunks(to - from)) {
            losses.extend(found);
        }
    }
    Ok(losses)
}
