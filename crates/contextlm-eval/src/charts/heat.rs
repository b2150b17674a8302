use std::fmt::Write;

/// Steps of the colour scale.
const LEVELS: usize = 24;

/// A square table of probabilities as colours; entries attend from the rows to the columns.
pub(crate) struct HeatMap<'a> {
    pub entries: usize,
    /// Row after row.
    pub values: &'a [f64],
    /// Entries that get a dot at the edge; none if empty.
    pub marked: &'a [bool],
    /// What the columns and the rows are.
    pub x: &'a str,
    pub y: &'a str,
}

impl HeatMap<'_> {
    /// One path a colour: a picture of thousands of cells stays small.
    pub fn svg(&self) -> String {
        let n = self.entries.max(1);
        let (left, top, side) = (30.0, 6.0, 144.0);
        let cell = side / n as f64;
        let mut out = String::from(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 178 170\" width=\"178\" height=\"170\" \
             font-family=\"sans-serif\" font-size=\"10\" fill=\"#3c3c3c\">",
        );
        for level in 1..LEVELS {
            let cells = self.values.iter().enumerate().filter(|&(_, &value)| level_of(value) == level);
            let mut path = String::new();
            for (i, _) in cells {
                let (x, y) = (left + (i % n) as f64 * cell, top + (i / n) as f64 * cell);
                let _ = write!(path, "M{x:.1} {y:.1}h{cell:.2}v{cell:.2}h-{cell:.2}z");
            }
            if !path.is_empty() {
                let _ = write!(out, "<path fill=\"{}\" d=\"{path}\"/>", colour(level));
            }
        }
        for (i, _) in self.marked.iter().enumerate().filter(|(_, marked)| **marked) {
            let at = (i as f64 + 0.5) * cell;
            for (x, y) in [(left + at, top + side + 3.0), (left - 3.0, top + at)] {
                let _ = write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.5\" fill=\"#d55e00\"/>");
            }
        }
        let (right, bottom) = (left + side, top + side);
        let _ = write!(
            out,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{side}\" height=\"{side}\" fill=\"none\" stroke=\"#b4b4b4\"/>\
             <text x=\"{left}\" y=\"{low}\">0</text><text x=\"{right}\" y=\"{low}\" text-anchor=\"end\">{last}</text>\
             <text x=\"{middle}\" y=\"{low}\" text-anchor=\"middle\">{x}</text>\
             <text x=\"{near}\" y=\"{first}\" text-anchor=\"end\">0</text><text x=\"{near}\" y=\"{bottom}\" text-anchor=\"end\">{last}</text>\
             <text transform=\"translate({far} {half}) rotate(-90)\" text-anchor=\"middle\">{y}</text></svg>",
            low = bottom + 14.0,
            middle = left + side / 2.0,
            near = left - 6.0,
            first = top + 9.0,
            far = 10.0,
            half = top + side / 2.0,
            last = n - 1,
            x = self.x,
            y = self.y,
        );
        out
    }
}

/// The scale itself, with its ends.
pub(crate) fn colour_scale() -> String {
    let mut out = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 330 34\" width=\"330\" height=\"34\" \
         font-family=\"sans-serif\" font-size=\"10\" fill=\"#3c3c3c\">",
    );
    for level in 0..LEVELS {
        let x = 10 + 12 * level;
        let _ = write!(out, "<rect x=\"{x}\" y=\"4\" width=\"12\" height=\"12\" fill=\"{}\"/>", colour(level));
    }
    let end = 10 + 12 * LEVELS;
    out.push_str("<rect x=\"10\" y=\"4\" width=\"288\" height=\"12\" fill=\"none\" stroke=\"#b4b4b4\"/>");
    for probability in [0.0, 0.05, 0.25, 0.5, 1.0] {
        let x = 10.0 + (end - 10) as f64 * f64::sqrt(probability);
        let _ = write!(out, "<text x=\"{x:.0}\" y=\"28\" text-anchor=\"middle\">{probability}</text>");
    }
    out + "</svg>"
}

/// By the square root, so that small probabilities are seen.
fn level_of(probability: f64) -> usize {
    let level = probability.max(0.0).sqrt() * LEVELS as f64;
    (level as usize).min(LEVELS - 1)
}

/// From white over blue to almost black.
fn colour(level: usize) -> String {
    let share = level as f64 / (LEVELS - 1) as f64;
    let stops = [(255.0, 255.0, 255.0), (158.0, 202.0, 225.0), (33.0, 113.0, 181.0), (8.0, 29.0, 66.0)];
    let at = share * (stops.len() - 1) as f64;
    let from = (at as usize).min(stops.len() - 2);
    let mix = |a: f64, b: f64| a + (b - a) * (at - from as f64);
    let ((r0, g0, b0), (r1, g1, b1)) = (stops[from], stops[from + 1]);
    format!("#{:02x}{:02x}{:02x}", mix(r0, r1) as u8, mix(g0, g1) as u8, mix(b0, b1) as u8)
}
