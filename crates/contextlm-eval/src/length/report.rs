use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::buckets::Buckets;
use crate::charts::{Line, Lines, stacked};
use crate::estimate::Sums;
use crate::{Estimate, EvalError, Windows};

/// Losses by length and by position. Losses are nats a token; errors are standard errors over texts, of differences paired.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LengthReport {
    /// Length of the training.
    pub trained: usize,
    /// The length that others are compared with: the longest that is not beyond the training, else the shortest.
    pub reference: usize,
    /// Windows of the longest length.
    pub windows: usize,
    /// Texts that standard errors are taken over.
    pub texts: usize,
    /// Tokens that are scored at every length, the same ones.
    pub tokens: usize,
    /// One for every length, the shortest first.
    pub lengths: Vec<AtLength>,
}

/// Windows of one length.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AtLength {
    /// Inputs of a window.
    pub length: usize,
    /// Whether it is longer than the training's.
    pub beyond: bool,
    /// Mean loss.
    pub loss: Estimate,
    /// exp of it.
    pub perplexity: f64,
    /// Loss less that of the reference, paired.
    pub difference: Estimate,
    /// Loss by position in the window.
    pub positions: Vec<PositionBucket>,
}

/// Positions of a window, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PositionBucket {
    /// The first one.
    pub from: usize,
    /// The one after the last.
    pub to: usize,
    /// Mean loss of the tokens that they predict.
    pub loss: Estimate,
}

pub(super) fn report(
    windows: &Windows,
    trained: usize,
    found: Vec<(usize, Sums, Buckets)>,
) -> Result<LengthReport, EvalError> {
    let nothing = || EvalError::setting("lengths", "none", "give at least one");
    let within = found.iter().rfind(|(length, ..)| *length <= trained);
    let (reference, base) = within.or(found.first()).map(|(length, sums, _)| (*length, sums)).ok_or_else(nothing)?;
    let at_length = |(length, sums, buckets): &(usize, Sums, Buckets)| {
        let loss = sums.estimate().ok_or_else(nothing)?;
        Ok(AtLength {
            length: *length,
            beyond: *length > trained,
            loss,
            perplexity: loss.mean.exp(),
            difference: sums.minus(base).estimate().ok_or_else(nothing)?,
            positions: buckets.estimates(),
        })
    };
    Ok(LengthReport {
        trained,
        reference,
        windows: windows.len(),
        texts: windows.texts(),
        tokens: windows.len() * windows.length(),
        lengths: found.iter().map(at_length).collect::<Result<_, EvalError>>()?,
    })
}

impl LengthReport {
    /// Loss by position for every length, and by length, as an SVG picture.
    ///
    /// # Errors
    /// [`EvalError::Chart`].
    pub fn to_svg(&self) -> Result<String, EvalError> {
        let names: Vec<String> = self.lengths.iter().map(|at| format!("windows of {}", at.length)).collect();
        let middle = |bucket: &PositionBucket| ((bucket.from.max(1) * bucket.to) as f64).sqrt().log2();
        let by_position: Vec<Line<'_>> = self
            .lengths
            .iter()
            .zip(&names)
            .map(|(at, name)| {
                let points = at.positions.iter().map(|bucket| (middle(bucket), bucket.loss)).collect();
                Line { name, points }
            })
            .collect();
        let longest = self.lengths.last().map_or(0, |at| at.length);
        let named = format!("trained on {}", self.trained);
        let marker = (self.trained <= longest).then_some(((self.trained as f64).log2(), named.as_str()));
        let y = "loss, nats a token";
        let x = "position in the window (logarithmic)";
        let upper = Lines { x, y, lines: &by_position, powers: true, marker, with_zero: false }.svg()?;
        let points = self.lengths.iter().map(|at| ((at.length as f64).log2(), at.difference)).collect();
        let (x, y) = ("length of the window (logarithmic)", format!("loss less that in windows of {}", self.reference));
        let by_length = [Line { name: "all positions", points }];
        let lower = Lines { x, y: &y, lines: &by_length, powers: true, marker, with_zero: true }.svg()?;
        let caption = [
            format!(
                "Above: mean loss by position, in windows of every length; each scores the same {} tokens.",
                self.tokens
            ),
            "Below: what the length changes, paired text by text.".into(),
            format!("Whiskers reach 1.96 standard errors over {} texts.", self.texts),
        ];
        Ok(stacked(&[upper, lower], &caption))
    }
}

impl Display for LengthReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} tokens in windows of every length; ± is a standard error over {} texts, of differences paired\n",
            self.tokens, self.texts
        )?;
        let compared = format!("less that of {}", self.reference);
        writeln!(f, "{:>8}  {:>16}  {:>12}  {compared:>20}", "length", "nats a token", "perplexity")?;
        let error =
            |estimate: &Estimate| estimate.standard_error.map_or(String::new(), |error| format!(" ± {error:.4}"));
        for at in &self.lengths {
            let (loss, more) = (error(&at.loss), error(&at.difference));
            let (loss, more) = (format!("{:.4}{loss}", at.loss.mean), format!("{:+.4}{more}", at.difference.mean));
            let mark = if at.beyond { "  beyond the training" } else { "" };
            writeln!(f, "{:>8}  {loss:>16}  {:>12.3}  {more:>20}{mark}", at.length, at.perplexity)?;
        }
        let Some(longest) = self.lengths.last() else { return Ok(()) };
        writeln!(
            f,
            "\nby position, in windows of {}\n{:>15}  {:>16}  {:>12}",
            longest.length, "positions", "nats a token", "perplexity"
        )?;
        for bucket in &longest.positions {
            let positions = format!("{} to {}", bucket.from, bucket.to - 1);
            let loss = format!("{:.4}{}", bucket.loss.mean, error(&bucket.loss));
            let mark = if bucket.from >= self.trained { "  beyond the training" } else { "" };
            writeln!(f, "{positions:>15}  {loss:>16}  {:>12.3}{mark}", bucket.loss.mean.exp())?;
        }
        Ok(())
    }
}
