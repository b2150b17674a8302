//! A chart of lines and bands, as SVG text.

use std::ops::Range;

use plotters::prelude::*;

/// Colours that stay apart for people who see few (Okabe and Ito).
pub(crate) const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];

/// x and y.
pub(crate) type Point = (f64, f64);
/// x, and from where to where.
pub(crate) type Between = (f64, f64, f64);

/// One axis.
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) range: Range<f64>,
    pub(crate) format: fn(f64) -> String,
}

/// What is drawn of one thing, in one colour.
#[derive(Default)]
pub(crate) struct Series {
    /// What stands in the legend, if it is to be there.
    pub(crate) name: Option<String>,
    pub(crate) colour: RGBColor,
    /// A strong line.
    pub(crate) line: Vec<Point>,
    /// A thin, pale line.
    pub(crate) thin: Vec<Point>,
    /// Points, each a dot.
    pub(crate) dots: Vec<Point>,
    /// A pale area.
    pub(crate) band: Vec<Between>,
}

/// A chart.
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) size: (u32, u32),
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
}

impl Chart {
    /// Draws it; `None` where no point is to be seen.
    pub(crate) fn svg(&self) -> Result<Option<String>, String> {
        let drawable = |range: &Range<f64>| range.start.is_finite() && range.end.is_finite() && range.start < range.end;
        if !drawable(&self.x.range) || !drawable(&self.y.range) {
            return Ok(None);
        }
        let mut svg = String::new();
        self.draw(SVGBackend::with_string(&mut svg, self.size)).map_err(|error| error.to_string())?;
        Ok(Some(svg))
    }

    fn draw(&self, backend: SVGBackend<'_>) -> Result<(), Box<dyn std::error::Error>> {
        let area = backend.into_drawing_area();
        area.fill(&WHITE)?;
        let (x, y) = (&self.x, &self.y);
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 19))
            .margin(12)
            .margin_right(24)
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d(x.range.clone(), y.range.clone())?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(228, 228, 228))
            .axis_style(RGBColor(120, 120, 120))
            .x_labels((self.size.0 / 110) as usize)
            .y_labels((self.size.1 / 40) as usize)
            .x_desc(&x.label)
            .y_desc(&y.label)
            .label_style(("sans-serif", 15))
            .axis_desc_style(("sans-serif", 15))
            .x_label_formatter(&|at| (x.format)(*at))
            .y_label_formatter(&|at| (y.format)(*at))
            .draw()?;
        // No band lies over a line.
        for series in &self.series {
            if series.band.len() > 1 {
                let up = series.band.iter().map(|&(x, low, _)| (x, low));
                let down = series.band.iter().rev().map(|&(x, _, high)| (x, high));
                let outline: Vec<_> = up.chain(down).map(|(x, y)| (x, self.clamped(y))).collect();
                chart.draw_series([Polygon::new(outline, series.colour.mix(0.18))])?;
            }
        }
        for series in &self.series {
            let (strong, colour) = (series.colour.stroke_width(2), series.colour);
            let shown = |points: &[(f64, f64)]| self.shown(points);
            chart.draw_series(LineSeries::new(shown(&series.thin), colour.mix(0.4).stroke_width(1)))?;
            let line = chart.draw_series(LineSeries::new(shown(&series.line), strong))?;
            if let Some(name) = &series.name {
                line.label(name).legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], strong));
            }
            let dots = shown(&series.dots);
            chart.draw_series(dots.into_iter().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        if self.series.iter().any(|series| series.name.is_some()) {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .background_style(WHITE.mix(0.9))
                .border_style(RGBColor(200, 200, 200))
                .label_font(("sans-serif", 15))
                .draw()?;
        }
        area.present()?;
        Ok(())
    }

    /// The points without those before the curve comes into the picture, which clamped to its edge would look flat, and
    /// without those that are no numbers.
    fn shown(&self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let numbers = points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
        let inside = numbers.skip_while(|(_, y)| !self.y.range.contains(y));
        inside.map(|&(x, y)| (x, self.clamped(y))).collect()
    }

    fn clamped(&self, y: f64) -> f64 {
        y.clamp(self.y.range.start, self.y.range.end)
    }
}

/// From the lowest to the highest of some values, with some space around; not a number on both ends where there are none.
pub(crate) fn span(values: impl IntoIterator<Item = f64>, least: f64) -> Range<f64> {
    let finite = values.into_iter().filter(|value| value.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let margin = 0.06 * (high - low).max(least);
    low - margin..high + margin
}

/// At most `most` points, each the mean of its neighbours, and between what they lie.
pub(crate) fn thinned(points: &[Point], most: usize) -> (Vec<Point>, Vec<Between>) {
    let numbers: Vec<_> = points.iter().copied().filter(|(_, y)| y.is_finite()).collect();
    let of = |bucket: &[(f64, f64)]| {
        let count = bucket.len() as f64;
        let mean = |value: fn(&(f64, f64)) -> f64| bucket.iter().map(value).sum::<f64>() / count;
        let ends = bucket.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |ends, p| (ends.0.min(p.1), ends.1.max(p.1)));
        ((mean(|p| p.0), mean(|p| p.1)), (mean(|p| p.0), ends.0, ends.1))
    };
    numbers.chunks(numbers.len().div_ceil(most.max(1)).max(1)).map(of).unzip()
}

/// A whole number in groups of three digits: 1,234,567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its unit: 1.5M.
pub(crate) fn count(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e12 => (value / 1e12, "T"),
        size if size >= 1e9 => (value / 1e9, "B"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    // Three digits, without zeros at the end.
    let text = format!("{scaled:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_units() {
        let found: Vec<_> = [0.0, 950.0, 1500.0, 2e6, 1.228e6, 3.2e9, 1e12].map(count).into();
        assert_eq!(found, ["0", "950", "1.5k", "2M", "1.23M", "3.2B", "1T"]);
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn thinning_keeps_mean_and_ends() {
        let points: Vec<_> = (0..10).map(|n| (f64::from(n), f64::from(n % 2))).collect();
        let (means, bands) = thinned(&points, 5);
        assert_eq!(means, [(0.5, 0.5), (2.5, 0.5), (4.5, 0.5), (6.5, 0.5), (8.5, 0.5)]);
        assert!(bands.iter().all(|band| (band.1, band.2) == (0.0, 1.0)));
        assert_eq!(thinned(&points, 100).0, points);
        assert!(thinned(&[(0.0, f64::NAN)], 5).0.is_empty());
    }

    #[test]
    fn nothing_to_see_is_no_chart() {
        let axis = |range| Axis { label: "x".into(), range, format: count };
        let chart =
            |y| Chart { title: "t".into(), size: (400, 300), x: axis(0.0..1.0), y: axis(y), series: Vec::new() };
        assert_eq!(chart(span([f64::NAN], 1.0)).svg().unwrap(), None);
        assert!(chart(span([3.0], 1.0)).svg().unwrap().unwrap().contains("<svg"));
    }
}
