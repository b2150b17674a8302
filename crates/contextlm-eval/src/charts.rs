//! Charts as SVG, to stand in a page or a file.

mod bars;
mod heat;
mod lines;

use plotters::coord::Shift;
use plotters::prelude::*;

pub(crate) use self::bars::Bars;
pub(crate) use self::heat::{HeatMap, colour_scale};
pub(crate) use self::lines::{Line, Lines};

use crate::{Estimate, EvalError};

/// Colours that stay apart for people who see few (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
];

const GREY: RGBColor = RGBColor(225, 225, 225);
const TEXT: RGBColor = RGBColor(60, 60, 60);
/// plotters writes 4/5 of this as the size in pixels.
const FONT: (&str, i32) = ("sans-serif", 16);
/// Width of a chart.
const WIDTH: u32 = 920;
/// Space left of a chart.
const LEFT: i32 = 76;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failure = Box<dyn std::error::Error>;

/// Draws into a picture of this size.
fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Result<(), Failure>) -> Result<String, EvalError> {
    let mut buffer = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut buffer, size).into_drawing_area();
        area.fill(&WHITE).map_err(Failure::from).and_then(|()| draw(&area)).and_then(|()| Ok(area.present()?))
    };
    drawn.map_err(|error| EvalError::Chart { reason: error.to_string() })?;
    Ok(buffer)
}

/// Length of a whisker: 1.96 standard errors, 95 % of many texts.
fn half_width(estimate: &Estimate) -> f64 {
    1.96 * estimate.standard_error.unwrap_or(0.0)
}

/// The range of some values with their intervals, with a margin of a twelfth, and 0 in it if it is to be.
fn range<'e>(values: impl Iterator<Item = &'e Estimate>, with_zero: bool) -> std::ops::Range<f64> {
    let start = if with_zero { (0.0, 0.0) } else { (f64::INFINITY, f64::NEG_INFINITY) };
    let (low, high) = values.filter(|value| value.mean.is_finite()).fold(start, |(low, high), value| {
        let half = half_width(value);
        (low.min(value.mean - half), high.max(value.mean + half))
    });
    if low > high {
        return 0.0..1.0;
    }
    let margin = ((high - low) / 12.0).max(1e-6);
    let low = if with_zero && low == 0.0 { 0.0 } else { low - margin };
    low..high + margin
}

/// Where the names of a legend stand, in rows above the chart.
fn legend_places(names: &[&str], width: i32) -> Vec<(i32, i32)> {
    let (mut x, mut y) = (LEFT, 12);
    let mut places = Vec::new();
    for name in names {
        let needed = 40 + text_width(name);
        if x + needed > width && x > LEFT {
            (x, y) = (LEFT, y + 20);
        }
        places.push((x, y));
        x += needed;
    }
    places
}

/// Space that the legend takes above the chart.
fn legend_height(names: &[&str], width: i32) -> i32 {
    legend_places(names, width).last().map_or(0, |(_, y)| *y) + 28
}

fn legend(area: &Area<'_>, names: &[&str]) -> Result<(), Failure> {
    let width = area.dim_in_pixel().0 as i32;
    for ((name, (x, y)), colour) in names.iter().zip(legend_places(names, width)).zip(COLOURS.iter().cycle()) {
        area.draw(&Rectangle::new([(x, y), (x + 12, y + 12)], colour.filled()))?;
        area.draw(&Text::new(name.to_string(), (x + 18, y - 1), FONT.into_font().color(&TEXT)))?;
    }
    Ok(())
}

/// About the pixels that a text takes.
fn text_width(text: &str) -> i32 {
    (6.6 * text.chars().count() as f64) as i32
}

/// Pictures of one width, one above the other, and what they show in lines below.
pub(crate) fn stacked(pictures: &[String], caption: &[String]) -> String {
    let size = |picture: &str, name: &str| {
        let value = picture.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split('"').next());
        value.and_then(|value| value.parse::<usize>().ok()).unwrap_or(0)
    };
    let width = pictures.iter().map(|picture| size(picture, " width")).max().unwrap_or(0);
    let (mut height, mut inside) = (0, String::new());
    for picture in pictures {
        inside += &picture.replacen("<svg ", &format!("<svg y=\"{height}\" "), 1);
        height += size(picture, " height");
    }
    for (number, line) in caption.iter().enumerate() {
        let y = height + 22 + 18 * number;
        inside += &format!(
            "<text x=\"{LEFT}\" y=\"{y}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#555\">{line}</text>\n"
        );
    }
    height += 18 * caption.len() + 16;
    format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" xmlns=\"http://www.w3.org/2000/svg\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n{inside}</svg>\n"
    )
}

/// As many digits as a scale of this span needs.
fn label(value: f64, span: f64) -> String {
    let digits = (1.0 - span.log10()).ceil().clamp(0.0, 6.0) as usize;
    let written = format!("{value:.digits$}");
    if written.trim_start_matches('-').chars().all(|c| matches!(c, '0' | '.')) { "0".into() } else { written }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(mean: f64) -> Estimate {
        Estimate { mean, standard_error: Some(0.1) }
    }

    #[test]
    fn charts_have_their_names_and_values() {
        let groups = ["left <1>".to_string(), "right".to_string()];
        let series =
            [("one", vec![Some(estimate(1.0)), Some(estimate(-0.5))]), ("two", vec![Some(estimate(2.0)), None])];
        let bars = Bars { y: "nats", groups: &groups, series: &series }.svg().unwrap();
        assert!(["left &lt;1&gt;", "right", "one", "two", "nats"].iter().all(|part| bars.contains(part)), "{bars}");
        let line = Line { name: "a line", points: vec![(0.0, estimate(3.0)), (5.0, estimate(2.0))] };
        let marker = Some((2.0, "trained"));
        let lines =
            Lines { x: "place", y: "nats", lines: &[line], powers: false, marker, with_zero: false }.svg().unwrap();
        assert!(["a line", "trained", "place", "<polyline"].iter().all(|part| lines.contains(part)), "{lines}");
        let heat =
            HeatMap { entries: 2, values: &[1.0, 0.0, 0.25, 0.75], marked: &[true, false], x: "to", y: "from" }.svg();
        assert_eq!(heat.matches("<path").count(), 3, "{heat}");
    }

    #[test]
    fn a_long_legend_goes_on_in_the_next_row() {
        let names = ["windows of 1024"; 8];
        let places = legend_places(&names, 920);
        assert!(places.iter().all(|(x, _)| x + 40 + text_width(names[0]) <= 920), "{places:?}");
        assert_eq!((places[0].1, places[7].1, legend_height(&names, 920)), (12, 32, 60));
    }

    #[test]
    fn stacked_pictures_have_room_for_all() {
        let one = svg((200, 50), |_| Ok(())).unwrap();
        let two = stacked(&[one.clone(), one], &["a line".into()]);
        assert!(two.contains("a line</text>"));
        assert!(
            two.starts_with("<svg width=\"200\" height=\"134\"") && two.contains("<svg y=\"50\" width=\"200\""),
            "{two}"
        );
    }

    #[test]
    fn nothing_to_draw_is_no_failure() {
        let nan = Estimate { mean: f64::NAN, standard_error: None };
        let line = Line { name: "nothing", points: vec![(1.0, nan)] };
        assert!(Lines { x: "", y: "", lines: &[line], powers: true, marker: None, with_zero: true }.svg().is_ok());
        assert!(Bars { y: "", groups: &[], series: &[] }.svg().is_ok());
    }

    #[test]
    fn labels_have_the_digits_that_tell_ticks_apart() {
        assert_eq!(
            [label(0.25, 1.0), label(0.0012, 0.005), label(12.0, 80.0), label(-0.0, 1.0)],
            ["0.2", "0.0012", "12", "0"]
        );
    }
}
