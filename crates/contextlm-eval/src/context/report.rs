use serde::Serialize;

use super::attention::AttentionMaps;
use super::place::{ByPlace, PlaceSums};
use super::probe::Probe;
use super::replace::{Losses, Replacement};
use super::similarity::{Similarity, SimilaritySums};
use crate::{Estimate, EvalError, Windows};

/// What goes with every loss under other contexts.
pub(super) const RELIANCE: &str = "a swap shows reliance, not gain";

/// What the contexts of a model know. Losses are nats a token; errors are standard errors over texts, of differences paired.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ContextReport {
    /// w.
    pub chunk_size: usize,
    /// Inputs of a window, T.
    pub window: usize,
    /// What stands for other contexts and chunks, `other_text`: `another text's`, or `a distant window's` where all windows
    /// are of one stream, which may be a single text.
    pub other: &'static str,
    /// Windows.
    pub windows: usize,
    /// Texts that standard errors are taken over.
    pub texts: usize,
    /// Tokens that are scored.
    pub tokens: usize,
    /// Those of them that a predicted context guides: all but the first w - 1 of each window.
    pub guided: usize,
    /// Loss on all scored tokens.
    pub loss: Estimate,
    /// Loss on guided tokens.
    pub guided_loss: ByPlace,
    /// How the loss on guided tokens changes under other contexts: a swap shows reliance, not gain.
    pub replaced: Vec<Replaced>,
    /// The same words, for who reads this as JSON.
    pub note: &'static str,
    /// The `constant` control, where one was given.
    pub control: Option<Control>,
    /// How near predictions are to the chunks that they predict.
    pub similarity: Similarity,
    /// How well contexts tell the tokens of their chunks; `None` with fewer than five texts.
    pub probe: Option<Probe>,
    /// Where attention goes.
    pub attention: AttentionMaps,
}

/// The loss under other contexts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replaced {
    /// What the predicted contexts were replaced by.
    pub by: Replacement,
    /// Loss under these less loss under the model's own, paired.
    pub rise: ByPlace,
}

/// A model without predictions, trained alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Control {
    /// Its loss on guided tokens.
    pub loss: ByPlace,
    /// Its loss less that of the model, paired: what the contexts have brought, as far as these two trainings tell.
    pub difference: ByPlace,
}

pub(super) fn report(
    windows: &Windows,
    chunk_size: usize,
    losses: &Losses,
    control: Option<&PlaceSums>,
    similarity: &SimilaritySums,
    probe: Option<Probe>,
    attention: AttentionMaps,
) -> Result<ContextReport, EvalError> {
    // Two chunks a window were asked for: every place has a token, and every window a predicted chunk.
    let nothing = || EvalError::setting("window", windows.length(), "no token is guided by a predicted context");
    let by_place = |sums: &PlaceSums| sums.estimate().ok_or_else(nothing);
    let replaced = Replacement::ALL.into_iter().zip(&losses.replaced);
    let replaced = replaced.map(|(by, sums)| Ok(Replaced { by, rise: by_place(&sums.minus(&losses.own))? }));
    let control = control.map(|sums| {
        Ok::<_, EvalError>(Control { loss: by_place(sums)?, difference: by_place(&sums.minus(&losses.own))? })
    });
    Ok(ContextReport {
        chunk_size,
        window: windows.length(),
        other: if windows.one_sequence() { "a distant window's" } else { "another text's" },
        windows: windows.len(),
        texts: windows.texts(),
        tokens: windows.len() * windows.length(),
        guided: losses.own.count() as usize,
        loss: losses.all.estimate().ok_or_else(nothing)?,
        guided_loss: by_place(&losses.own)?,
        replaced: replaced.collect::<Result<_, EvalError>>()?,
        note: RELIANCE,
        control: control.transpose()?,
        similarity: similarity.estimate().ok_or_else(nothing)?,
        probe,
        attention,
    })
}
