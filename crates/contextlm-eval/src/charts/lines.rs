use plotters::prelude::*;

use super::{COLOURS, FONT, GREY, LEFT, TEXT, WIDTH, half_width, label, legend, legend_height, range, svg, text_width};
use crate::{Estimate, EvalError};

/// One line, and its name in the legend.
pub(crate) struct Line<'a> {
    pub name: &'a str,
    pub points: Vec<(f64, Estimate)>,
}

/// Lines through points with whiskers of 1.96 standard errors.
pub(crate) struct Lines<'a> {
    /// What the axes mean.
    pub x: &'a str,
    pub y: &'a str,
    pub lines: &'a [Line<'a>],
    /// Whether x is a logarithm to base 2, and labelled by its powers; else it is labelled at whole numbers.
    pub powers: bool,
    /// A vertical line and its name.
    pub marker: Option<(f64, &'a str)>,
    /// Whether 0 is to be in the picture.
    pub with_zero: bool,
}

impl Lines<'_> {
    pub fn svg(&self) -> Result<String, EvalError> {
        svg((WIDTH, 420), |area| {
            let points = || self.lines.iter().flat_map(|line| &line.points);
            let heights = range(points().map(|(_, value)| value), self.with_zero);
            let (span, top, bottom) = (heights.end - heights.start, heights.end, heights.start);
            let marked = self.marker.map(|(x, _)| x);
            let (low, high) = points()
                .map(|(x, _)| *x)
                .chain(marked)
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
            let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
            let margin = ((high - low) / 40.0).max(0.05);
            let names: Vec<&str> = self.lines.iter().map(|line| line.name).collect();
            let mut chart = ChartBuilder::on(area)
                .margin_top(legend_height(&names, WIDTH as i32))
                .margin_right(24)
                .margin_left(10)
                .x_label_area_size(48)
                .y_label_area_size(LEFT - 10)
                .build_cartesian_2d(low - margin..high + margin, heights)?;
            chart
                .configure_mesh()
                .light_line_style(WHITE)
                .bold_line_style(GREY)
                .axis_style(TEXT)
                .x_labels(((high - low) as usize + 2).clamp(3, 20))
                .y_labels(8)
                .x_desc(self.x)
                .y_desc(self.y)
                .x_label_formatter(&|x| match (x.fract() == 0.0, self.powers) {
                    (true, true) => format!("{:.0}", x.exp2()),
                    (true, false) => format!("{x:.0}"),
                    (false, _) => String::new(),
                })
                .y_label_formatter(&|y| label(*y, span))
                .label_style(FONT.into_font().color(&TEXT))
                .draw()?;
            if let Some((x, name)) = self.marker {
                chart.draw_series([PathElement::new(vec![(x, bottom), (x, top)], TEXT.mix(0.6).stroke_width(1))])?;
                let (left, upper) = chart.backend_coord(&(x, top));
                // On the side that has room.
                let left = if left > 700 { left - 10 - text_width(name) } else { left + 6 };
                area.draw(&Text::new(name.to_string(), (left, upper + 4), FONT.into_font().color(&TEXT)))?;
            }
            for (number, line) in self.lines.iter().enumerate() {
                let colour = COLOURS[number % COLOURS.len()];
                let points = || line.points.iter().filter(|(_, value)| value.mean.is_finite());
                chart.draw_series(LineSeries::new(
                    points().map(|(x, value)| (*x, value.mean)),
                    colour.stroke_width(2),
                ))?;
                chart.draw_series(points().map(|(x, value)| Circle::new((*x, value.mean), 3, colour.filled())))?;
                chart.draw_series(points().map(|(x, value)| {
                    let half = half_width(value);
                    PathElement::new(vec![(*x, value.mean - half), (*x, value.mean + half)], colour.stroke_width(1))
                }))?;
            }
            legend(area, &names)
        })
    }
}
