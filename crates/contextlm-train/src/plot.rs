//! Loss curves as SVG.

use std::path::Path;

use crate::chart::{Axis, COLOURS, Chart, Series, count};
use crate::{Run, TrainError};

/// One run under its name.
#[derive(Debug, Clone, Copy)]
pub struct Curve<'a> {
    /// What stands in the legend.
    pub name: &'a str,
    /// The run.
    pub run: &'a Run,
}

/// Draws the training loss of runs as thin lines, smoothed, and their validation losses as points on strong ones.
///
/// # Errors
/// [`TrainError::Plot`] if there is nothing to draw or the file cannot be written.
pub fn loss_curves(path: impl AsRef<Path>, title: &str, curves: &[Curve<'_>]) -> Result<(), TrainError> {
    let path = path.as_ref();
    let failed = |reason: String| TrainError::Plot { path: path.into(), reason };
    let (steps, losses) = bounds(curves).ok_or_else(|| failed("no step was made".into()))?;
    let series = curves.iter().zip(COLOURS.iter().cycle()).map(|(curve, colour)| {
        let valid: Vec<_> =
            curve.run.valid.iter().map(|(step, evaluation)| (*step as f64, evaluation.loss())).collect();
        Series {
            name: Some(curve.name.into()),
            colour: *colour,
            thin: smoothed(curve.run),
            line: valid.clone(),
            dots: valid,
            ..Series::default()
        }
    });
    let chart = Chart {
        title: title.into(),
        size: (960, 560),
        x: Axis { label: "step".into(), range: 0.0..steps, format: count },
        y: Axis { label: "loss (nats a token)".into(), range: losses, format: |loss| format!("{loss:.2}") },
        series: series.collect(),
    };
    let svg = chart.svg().map_err(failed)?.ok_or_else(|| failed("no loss is a number".into()))?;
    std::fs::write(path, svg).map_err(TrainError::io(path))
}

/// The exponential mean of the training loss over about 20 steps.
fn smoothed(run: &Run) -> Vec<(f64, f64)> {
    let mut mean: Option<f64> = None;
    run.steps
        .iter()
        .map(|step| {
            let next = mean.map_or(step.loss, |mean| 0.95 * mean + 0.05 * step.loss);
            mean = Some(next);
            (step.step as f64, next)
        })
        .collect()
}

/// The last step, and the range of losses without the steep beginning.
fn bounds(curves: &[Curve<'_>]) -> Option<(f64, std::ops::Range<f64>)> {
    let steps = curves.iter().filter_map(|curve| curve.run.steps.last()).map(|step| step.step).max()?;
    let shown = |curve: &Curve<'_>| {
        let smooth = smoothed(curve.run);
        let skipped = smooth.len() / 20;
        let valid: Vec<f64> = curve.run.valid.iter().map(|(_, evaluation)| evaluation.loss()).collect();
        smooth.into_iter().skip(skipped).map(|(_, loss)| loss).chain(valid).collect::<Vec<_>>()
    };
    let all: Vec<f64> = curves.iter().flat_map(shown).filter(|loss| loss.is_finite()).collect();
    let low = all.iter().copied().fold(f64::INFINITY, f64::min);
    let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let margin = 0.05 * (high - low).max(0.1);
    (low <= high).then_some((steps as f64, low - margin..high + margin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Evaluation, StepMetrics};

    #[test]
    fn a_picture_has_its_title_and_a_curve_a_run() {
        let step = |step: usize| StepMetrics {
            step,
            tokens: 0,
            loss: 5.0 / step as f64,
            latent_loss: None,
            lr: 0.0,
            grad_norm: 0.0,
            tokens_per_second: 0.0,
            skipped: false,
        };
        let valid = vec![(5, Evaluation { nll: 30.0, tokens: 10 }), (9, Evaluation { nll: 20.0, tokens: 10 })];
        let run = Run { steps: (1..10).map(step).collect(), valid };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("curves.svg");
        loss_curves(&path, "a title", &[Curve { name: "one", run: &run }, Curve { name: "two", run: &run }]).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        assert!(["a title", "one", "two", "<polyline", "<circle"].iter().all(|part| svg.contains(part)), "{svg}");
        let error = loss_curves(&path, "", &[Curve { name: "none", run: &Run::default() }]).unwrap_err();
        assert!(error.to_string().contains("no step was made"), "{error}");
    }
}
