//! A comparison as tables of text.

use super::{Comparison, Difference, Estimate, Standing};
use crate::chart::{count, grouped};

impl Comparison {
    /// Tables, one line a group.
    pub fn text(&self) -> String {
        let mut text = aligned(&self.sizes());
        for (title, standing) in self.standings() {
            text += &format!("\n{title}\n{}", aligned(&self.rows(standing)));
        }
        if self.equal_compute.is_none() {
            text += "\nequal compute: n/a (the FLOPs of some run are not known)\n";
        }
        text
    }

    pub(super) fn sizes(&self) -> Vec<Vec<String>> {
        let heads = ["", "parameters", "FLOPs a token", "tokens", "seeds", "validation loss after them"];
        let mut rows = vec![heads.map(String::from).to_vec()];
        for group in &self.groups {
            rows.push(vec![
                group.name.clone(),
                group.parameters.map_or("n/a".into(), |count| grouped(count as u64)),
                group.training_flops_per_token.map_or("n/a".into(), |flops| format!("{:.4e}", flops as f64)),
                grouped(group.tokens),
                group.runs.len().to_string(),
                estimate(group.final_loss.as_ref()),
            ]);
        }
        rows
    }

    /// What is compared at which point.
    pub(super) fn standings(&self) -> Vec<(String, &Standing)> {
        let tokens = format!("at equal tokens, {}", count(self.equal_tokens.at));
        let mut standings = vec![(tokens, &self.equal_tokens)];
        if let Some(compute) = &self.equal_compute {
            standings.push((format!("at equal compute, {:.3e} FLOPs", compute.at), compute));
        }
        standings
    }

    pub(super) fn rows(&self, standing: &Standing) -> Vec<Vec<String>> {
        let first = self.groups.first().map_or("", |group| &group.name);
        let heads = ["", "tokens", "validation loss", &format!("minus {first}"), "95 % interval (Welch t)"];
        let mut rows = vec![heads.map(String::from).to_vec()];
        for (index, row) in standing.rows.iter().enumerate() {
            let (difference, interval) = match &row.difference {
                Some(found) => (format!("{:+.4}", found.value), interval(found)),
                None if index == 0 => (String::new(), String::new()),
                None => ("n/a".into(), "n/a".into()),
            };
            rows.push(vec![row.name.clone(), count(row.tokens), estimate(row.loss.as_ref()), difference, interval]);
        }
        rows
    }
}

fn estimate(found: Option<&Estimate>) -> String {
    match found {
        None => "n/a (before the first validation)".into(),
        Some(Estimate { mean, standard_error: Some(error), .. }) => format!("{mean:.4} ± {error:.4}"),
        Some(Estimate { mean, .. }) => format!("{mean:.4}"),
    }
}

fn interval(found: &Difference) -> String {
    match found.interval {
        None => "n/a (one seed)".into(),
        Some(interval) => {
            format!("{:+.4} to {:+.4}, df {:.1}", interval.low, interval.high, interval.degrees_of_freedom)
        }
    }
}

/// Columns under each other: the first to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let line: Vec<String> = cells
            .map(|(index, (cell, width))| if index == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") })
            .collect();
        text += line.join("  ").trim_end();
        text.push('\n');
    }
    text
}
