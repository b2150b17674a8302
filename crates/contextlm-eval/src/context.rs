//! What the contexts of a model know, and what it makes of them.

mod attention;
mod html;
mod means;
mod parts;
mod place;
mod probe;
mod replace;
mod report;
mod similarity;
mod table;

use contextlm_core::{Backbone, ContextLm, Device, Source};

pub use self::attention::{AttentionMap, AttentionMaps};
pub use self::place::ByPlace;
pub use self::probe::{Probe, ProbeOptions, ProbePlace, Told};
pub use self::replace::Replacement;
pub use self::report::{ContextReport, Control, Replaced};
pub use self::similarity::{Cosines, Similarity};

use self::means::Means;
use self::parts::Parts;
use self::place::PlaceSums;
use self::replace::{Losses, add_windows};
use self::similarity::SimilaritySums;
use crate::nll::nll;
use crate::score::TokenScorer;
use crate::{EvalError, Windows};

/// Settings of [`context_report`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContextOptions {
    /// Windows that go through the model at once; as many as have 2048 tokens if not given.
    pub rows: Option<usize>,
    /// The probe.
    pub probe: ProbeOptions,
}

/// Finds out what the predicted contexts of a model know: how much its loss rises without them, how near they are to the
/// chunks that they predict, how well they tell the tokens of these, and where attention goes.
///
/// `control` is a model with `source = constant`, trained as this one was. `progress` is told what is being done, and how much
/// of how much. All is computed in inference: give a model on a device without autodiff.
///
/// # Errors
/// [`EvalError::NoContexts`] for a model without a predictor; [`EvalError::Setting`] for windows of less than two chunks or more
/// than the model's positions, and for a control that is none; [`EvalError::Generate`] for a token that a model does not know.
pub fn context_report<B: Backbone>(
    model: &ContextLm<B>,
    control: Option<&ContextLm<B>>,
    windows: &Windows,
    options: ContextOptions,
    device: &Device,
    progress: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<ContextReport, EvalError> {
    let parts = Parts::of(model)?;
    check(model, windows, parts.chunk_size)?;
    if let Some(control) = control {
        check_control(control, windows)?;
    }
    let rows = options.rows.unwrap_or(2048 / windows.length()).max(1);
    let all: Vec<usize> = (0..windows.len()).collect();
    let batches: Vec<&[usize]> = all.chunks(rows).collect();

    let mut means = Means::default();
    for (done, batch) in batches.iter().enumerate() {
        progress("mean contexts", done, batches.len());
        means.add(&parts.encode(windows.inputs(batch, device))?);
    }
    let (mean_context, mean_chunk) = means.finish()?;

    let w = parts.chunk_size;
    let mut losses = Losses::new(w, windows.texts());
    let mut similarity = SimilaritySums::new(windows.texts());
    for (done, batch) in batches.iter().enumerate() {
        progress("losses", done, batches.len());
        let partners: Vec<usize> = batch.iter().map(|&window| windows.partner(window)).collect();
        let own = parts.encode(windows.inputs(batch, device))?;
        let other = parts.encode(windows.inputs(&partners, device))?;
        losses.add(&parts, windows, batch, &own, &other, &mean_context)?;
        similarity.add(windows, batch, &own, &other, &mean_context, &mean_chunk)?;
    }

    let control = match control {
        None => None,
        Some(control) => {
            let (mut sums, scorer) = (PlaceSums::new(w, windows.texts()), TokenScorer::new(control));
            for (done, batch) in batches.iter().enumerate() {
                progress("losses of the control", done, batches.len());
                let states = control.hidden_states(windows.inputs(batch, device));
                add_windows(&mut sums, windows, batch, w, &nll(&scorer, states, &windows.targets(batch))?);
            }
            Some(sums)
        }
    };
    let probe =
        probe::probe(&parts, windows, options.probe, rows, device, &mut |done, of| progress("probes", done, of))?;
    progress("attention maps", 0, 1);
    let attention = attention::attention_maps(&parts, windows, rows, device)?;
    report::report(windows, w, &losses, control.as_ref(), &similarity, probe, attention)
}

fn check<B: Backbone>(model: &ContextLm<B>, windows: &Windows, chunk_size: usize) -> Result<(), EvalError> {
    let (spec, length) = (model.backbone.spec(), windows.length());
    windows.check(spec.vocabulary)?;
    if length / 2 < chunk_size {
        let fix = format!("must be at least two chunks of {chunk_size} tokens");
        return Err(EvalError::setting("window", length, fix));
    }
    if length > spec.max_positions {
        return Err(EvalError::setting("window", length, format!("the model has {} positions", spec.max_positions)));
    }
    Ok(())
}

fn check_control<B: Backbone>(control: &ContextLm<B>, windows: &Windows) -> Result<(), EvalError> {
    let source = control.settings().map(|settings| settings.source);
    if source != Some(Source::Constant) {
        let found = if source.is_none() { "a plain backbone" } else { "a model with source = predicted" };
        let fix = "must be a model trained with source = constant, which has all of ContextLM but predictions";
        return Err(EvalError::setting("control", found, fix));
    }
    let spec = control.backbone.spec();
    if windows.length() > spec.max_positions {
        let fix = format!("the control has {} positions", spec.max_positions);
        return Err(EvalError::setting("window", windows.length(), fix));
    }
    windows.check(spec.vocabulary)
}
