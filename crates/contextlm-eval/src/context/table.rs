//! The report as a table for people.

use std::fmt::{self, Display, Formatter};

use super::place::ByPlace;
use super::probe::Told;
use super::report::{ContextReport, RELIANCE};
use super::similarity::Cosines;
use crate::Estimate;

/// With its standard error; `signed` shows a plus.
pub(super) fn shown(estimate: &Estimate, signed: bool) -> String {
    let mean = if signed { format!("{:+.4}", estimate.mean) } else { format!("{:.4}", estimate.mean) };
    match estimate.standard_error {
        Some(error) => format!("{mean} ± {error:.4}"),
        None => mean,
    }
}

/// Means of all guided tokens, of first ones and of the others.
pub(super) fn by_place(values: &ByPlace, signed: bool) -> [String; 3] {
    let later = values.later.as_ref().map_or("-".into(), |later| shown(later, signed));
    [shown(&values.all, signed), shown(&values.first, signed), later]
}

pub(super) fn cosines(values: &Cosines) -> [String; 4] {
    let Cosines { actual, other_text, chunk_before, difference } = values;
    [shown(actual, false), shown(other_text, false), shown(chunk_before, false), shown(difference, true)]
}

pub(super) fn told(told: &Told) -> String {
    format!("{} ({:.1} %)", shown(&told.nats, true), 100.0 * told.accuracy.mean)
}

impl Display for ContextReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let row_of = |f: &mut Formatter<'_>, width: usize, name: &str, cells: &[String]| {
            write!(f, "{name:<24}")?;
            cells.iter().try_for_each(|cell| write!(f, "  {cell:>width$}"))?;
            writeln!(f)
        };
        let row = |f: &mut Formatter<'_>, name: &str, cells: &[String]| row_of(f, 17, name, cells);
        let head = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        writeln!(
            f,
            "{} windows of {} tokens, chunks of {}; ± is a standard error over {} texts, of differences paired\n",
            self.windows, self.window, self.chunk_size, self.texts
        )?;
        let places = head(&["all guided tokens", "first of a chunk", "the others"]);
        row(f, "nats a token", &places)?;
        row(f, "loss", &by_place(&self.guided_loss, false))?;
        if let Some(control) = &self.control {
            row(f, "constant control less it", &by_place(&control.difference, true))?;
        }
        writeln!(f)?;
        row(f, "contexts replaced by", &places)?;
        for replaced in &self.replaced {
            row(f, replaced.by.name(self.other), &by_place(&replaced.rise, true))?;
        }
        writeln!(f, "{}{}\n", RELIANCE[..1].to_uppercase(), &RELIANCE[1..])?;

        row(f, "cosine of a prediction", &head(&["its chunk", self.other, "the chunk before", "first less second"]))?;
        row(f, "as they are", &cosines(&self.similarity.raw))?;
        row(f, "without their means", &cosines(&self.similarity.centred))?;
        if let Some(probe) = &self.probe {
            writeln!(f)?;
            row(
                f,
                "probe: nats told (right)",
                &head(&["context", "state before chunk", "state", "state and context"]),
            )?;
            for place in &probe.places {
                let cells =
                    [place.context, place.state_before, place.state, place.state_and_context].map(|cell| told(&cell));
                row_of(f, 27, &format!("token {} of the chunk", place.place), &cells)?;
            }
        }
        Ok(())
    }
}
