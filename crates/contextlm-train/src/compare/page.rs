//! A comparison as one HTML page.

use std::path::Path;

use super::{Comparison, Group, curve};
use crate::TrainError;
use crate::chart::{Axis, COLOURS, Chart, Series, count, span};
use crate::page::Page;

/// Writes the tables of a comparison, and validation losses over tokens and over compute, to a file of their own.
///
/// # Errors
/// [`TrainError::File`] if it cannot be written; [`TrainError::Plot`].
pub fn write_page(path: impl AsRef<Path>, groups: &[Group], comparison: &Comparison) -> Result<(), TrainError> {
    let path = path.as_ref();
    let mut page = Page::new("Comparison of runs");
    page.table(&comparison.sizes());
    for (title, standing) in comparison.standings() {
        page.heading(&title);
        page.table(&comparison.rows(standing));
    }
    let charts = [over_tokens(groups), over_compute(groups)];
    let drawn: Result<Vec<_>, _> = charts.iter().flatten().map(Chart::svg).collect();
    let drawn = drawn.map_err(|reason| TrainError::Plot { path: path.into(), reason })?;
    page.heading("Validation loss");
    page.charts(drawn.into_iter().flatten());
    page.paragraph(
        "Lines are means over seeds; pale areas reach from the lowest seed to the highest. Losses are nats a token; ± is the \
         standard error of the mean. Between two validations the loss is read off a line that is straight over the logarithm \
         of the tokens. Intervals are those of Welch's t; with one seed there is none. Compute is counted from the shape of \
         the model, context path included, forward and backward.",
    );
    for group in &comparison.groups {
        page.folded(&group.name, &group.runs.join("\n"));
    }
    page.write(path)
}

fn over_tokens(groups: &[Group]) -> Option<Chart> {
    chart(groups, "At equal tokens", "tokens", count, |_| Some(1.0))
}

fn over_compute(groups: &[Group]) -> Option<Chart> {
    chart(
        groups,
        "At equal compute",
        "FLOPs",
        |flops| if flops == 0.0 { "0".into() } else { format!("{flops:.1e}") },
        |group| Some(group.flops()? as f64),
    )
}

/// Losses over tokens times what one costs.
fn chart(
    groups: &[Group],
    title: &str,
    label: &str,
    format: fn(f64) -> String,
    cost: impl Fn(&Group) -> Option<f64>,
) -> Option<Chart> {
    let mut series = Vec::new();
    let (mut end, mut shown) = (0.0_f64, Vec::new());
    for (index, group) in groups.iter().enumerate() {
        let cost = cost(group)?;
        let curves: Vec<_> = group.runs().iter().map(|run| run.history.valid_curve()).collect();
        let spread = curve::spread(&curves);
        let line: Vec<_> = spread.iter().map(|(tokens, [mean, ..])| (tokens * cost, *mean)).collect();
        let band: Vec<_> = spread.iter().map(|(tokens, [_, low, high])| (tokens * cost, *low, *high)).collect();
        end = end.max(line.last().map_or(0.0, |point| point.0));
        // The steep beginning is above the picture.
        shown.extend(band.iter().skip(band.len() / 8).flat_map(|&(_, low, high)| [low, high]));
        let name = match group.runs().len() {
            1 => group.name().into(),
            seeds => format!("{}, {seeds} seeds", group.name()),
        };
        series.push(Series {
            name: Some(name),
            colour: COLOURS[index % COLOURS.len()],
            dots: if line.len() <= 40 { line.clone() } else { Vec::new() },
            line,
            band: if curves.len() > 1 { band } else { Vec::new() },
            ..Series::default()
        });
    }
    Some(Chart {
        title: title.into(),
        size: (1010, 420),
        x: Axis { label: label.into(), range: 0.0..end * 1.02, format },
        y: Axis { label: "nats a token".into(), range: span(shown, 0.02), format: |loss| format!("{loss:.2}") },
        series,
    })
}
