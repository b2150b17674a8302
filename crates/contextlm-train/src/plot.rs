//! Loss curves as SVG.

use std::path::Path;

use plotters::prelude::*;

use crate::{Run, TrainError};

/// One run under its name.
#[derive(Debug, Clone, Copy)]
pub struct Curve<'a> {
    /// What stands in the legend.
    pub name: &'a str,
    /// The run.
    pub run: &'a Run,
}

/// Colours that stay apart for people who see few (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
];

/// Draws the training loss of runs as thin lines, smoothed, and their validation losses as points on strong ones.
///
/// # Errors
/// [`TrainError::Plot`] if there is nothing to draw or the file cannot be written.
pub fn loss_curves(path: impl AsRef<Path>, title: &str, curves: &[Curve<'_>]) -> Result<(), TrainError> {
    let path = path.as_ref();
    let failed = |reason: String| TrainError::Plot { path: path.into(), reason };
    let (steps, losses) = bounds(curves).ok_or_else(|| failed("no step was made".into()))?;
    draw(path, title, curves, steps, losses).map_err(|error| failed(error.to_string()))
}

fn draw(
    path: &Path,
    title: &str,
    curves: &[Curve<'_>],
    steps: f64,
    losses: std::ops::Range<f64>,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(path, (960, 560)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..steps, losses.clone())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_desc("step")
        .y_desc("loss (nats a token)")
        .label_style(("sans-serif", 14))
        .x_label_formatter(&|step| format!("{step:.0}"))
        .draw()?;
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let thin = colour.mix(0.35).stroke_width(1);
        // The steep beginning is above the picture; clamped to its edge it would look flat.
        let shown = smoothed(curve.run).into_iter().skip_while(|(_, loss)| *loss > losses.end);
        chart.draw_series(LineSeries::new(shown, thin))?;
        let valid = || curve.run.valid.iter().map(|(step, evaluation)| (*step as f64, evaluation.loss()));
        chart
            .draw_series(LineSeries::new(valid(), colour.stroke_width(2)))?
            .label(curve.name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(valid().map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 14))
        .draw()?;
    area.present()?;
    Ok(())
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
