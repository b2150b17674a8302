use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{COLOURS, FONT, Failure, GREY, LEFT, TEXT, WIDTH, half_width, label, legend, legend_height, range, svg};
use crate::{Estimate, EvalError};

/// Groups of bars side by side, with whiskers of 1.96 standard errors.
pub(crate) struct Bars<'a> {
    /// What the height means.
    pub y: &'a str,
    /// Names of the groups.
    pub groups: &'a [String],
    /// Names of the bars within a group, and their heights group by group.
    pub series: &'a [(&'a str, Vec<Option<Estimate>>)],
}

/// Space between groups, as a share of a group.
const GAP: f64 = 0.24;

impl Bars<'_> {
    pub fn svg(&self) -> Result<String, EvalError> {
        svg((WIDTH, 380), |area| {
            let heights = range(self.series.iter().flat_map(|(_, heights)| heights).flatten(), true);
            let span = heights.end - heights.start;
            let groups = self.groups.len().max(1) as f64;
            let names: Vec<&str> = self.series.iter().map(|(name, _)| *name).collect();
            let mut chart = ChartBuilder::on(area)
                .margin_top(legend_height(&names, WIDTH as i32))
                .margin_right(16)
                .margin_left(10)
                .x_label_area_size(36)
                .y_label_area_size(LEFT - 10)
                .build_cartesian_2d(0.0..groups, heights)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .light_line_style(WHITE)
                .bold_line_style(GREY)
                .axis_style(TEXT)
                .x_labels(0)
                .y_labels(8)
                .y_desc(self.y)
                .y_label_formatter(&|y| label(*y, span))
                .label_style(FONT.into_font().color(&TEXT))
                .draw()?;
            let width = (1.0 - GAP) / self.series.len().max(1) as f64;
            for (number, (_, heights)) in self.series.iter().enumerate() {
                let colour = COLOURS[number % COLOURS.len()];
                for (group, height) in heights.iter().enumerate() {
                    let Some(height) = height.filter(|height| height.mean.is_finite()) else { continue };
                    let left = group as f64 + GAP / 2.0 + number as f64 * width;
                    let (from, to, middle) = (left + 0.06 * width, left + 0.94 * width, left + width / 2.0);
                    chart.draw_series([Rectangle::new([(from, 0.0), (to, height.mean)], colour.filled())])?;
                    let half = half_width(&height);
                    let ends = vec![(middle, height.mean - half), (middle, height.mean + half)];
                    chart.draw_series([PathElement::new(ends, TEXT.stroke_width(1))])?;
                }
            }
            chart.draw_series([PathElement::new(vec![(0.0, 0.0), (groups, 0.0)], TEXT.stroke_width(1))])?;
            self.names(area, |group| chart.backend_coord(&(group as f64 + 0.5, 0.0)).0)?;
            legend(area, &names)
        })
    }

    /// The names of the groups, under their middles.
    fn names(&self, area: &super::Area<'_>, middle: impl Fn(usize) -> i32) -> Result<(), Failure> {
        let style = FONT.into_font().color(&TEXT).pos(Pos::new(HPos::Center, VPos::Top));
        for (group, name) in self.groups.iter().enumerate() {
            area.draw(&Text::new(name.clone(), (middle(group), 352), style.clone()))?;
        }
        Ok(())
    }
}
