//! Runs beside each other.
//!
//! ```no_run
//! # fn main() -> Result<(), contextlm_train::TrainError> {
//! use contextlm_train::compare::{Group, compare};
//! let groups = [Group::read("runs/small-plain")?, Group::read("contextlm=runs/a,runs/b,runs/c")?];
//! let comparison = compare(&groups)?;
//! println!("{}", comparison.text());
//! # Ok(())
//! # }
//! ```

mod curve;
mod group;
mod page;
mod settings;
mod statistics;
mod text;

use serde::Serialize;

pub use group::Group;
pub use page::write_page;
pub use statistics::{Difference, Estimate};

use crate::TrainError;

/// Several groups of runs, and what they come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Every group, in the order in which they were given.
    pub groups: Vec<GroupSummary>,
    /// Validation losses after as many tokens as every run has seen.
    pub equal_tokens: Standing,
    /// Validation losses after as much arithmetic as every run has done; `None` where some run's is not known.
    pub equal_compute: Option<Standing>,
}

/// What a group is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupSummary {
    /// Its name.
    pub name: String,
    /// The directories of its runs.
    pub runs: Vec<String>,
    /// Parameters of its model.
    pub parameters: Option<usize>,
    /// Operations for a token, forward and backward.
    pub training_flops_per_token: Option<u64>,
    /// Tokens that each of its runs was validated after at last; the fewest where they differ.
    pub tokens: u64,
    /// Validation loss of its runs after `tokens`; `None` where they end at different tokens, and one's first validation is
    /// after another's last.
    pub final_loss: Option<Estimate>,
}

/// All groups at one point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// The point: tokens, or operations.
    pub at: f64,
    /// Every group, in the order in which they were given.
    pub rows: Vec<Row>,
}

/// A group at one point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Tokens seen there.
    pub tokens: f64,
    /// Validation loss, nats a token; `None` where the point is before the first validation of one of its runs.
    pub loss: Option<Estimate>,
    /// Difference to the first group; `None` for that itself, and where there is nothing to subtract.
    pub difference: Option<Difference>,
}

/// Compares groups with the first of them.
///
/// Losses between validations are read off a line that is straight over the logarithm of the tokens.
///
/// # Errors
/// [`TrainError::Compare`] where there are fewer than two groups, a run has no validation, or runs were not validated on the
/// same tokens in rows of the same length and packing; [`TrainError::ConfigFile`] for a `config.toml` that cannot be read.
pub fn compare(groups: &[Group]) -> Result<Comparison, TrainError> {
    if groups.len() < 2 {
        return Err(TrainError::Compare { reason: "give at least two runs or groups of runs".into() });
    }
    group::same_validation(groups)?;
    let ends =
        |group: &Group| group.runs().iter().filter_map(|run| run.history.valid_curve().last().copied()).collect();
    let all: Vec<Vec<(f64, f64)>> = groups.iter().map(ends).collect();
    let least = |ends: &[(f64, f64)]| ends.iter().map(|end| end.0).fold(f64::INFINITY, f64::min);

    let fewest = |costs: &[f64]| all.iter().zip(costs).map(|(e, cost)| least(e) * cost).fold(f64::INFINITY, f64::min);
    let tokens = fewest(&vec![1.0; groups.len()]);
    let equal_tokens = standing(groups, tokens, &vec![tokens; groups.len()]);
    let costs: Option<Vec<f64>> = groups.iter().map(|group| Some(group.flops()? as f64)).collect();
    let equal_compute = costs.map(|costs| {
        let compute = fewest(&costs);
        standing(groups, compute, &costs.iter().map(|cost| compute / cost).collect::<Vec<_>>())
    });

    let loss_after = |group: &Group, tokens: f64| {
        let losses = group.runs().iter().map(|run| curve::at(&run.history.valid_curve(), tokens));
        losses.collect::<Option<Vec<_>>>().as_deref().map(Estimate::of)
    };
    let summary = |(group, ends): (&Group, &Vec<(f64, f64)>)| GroupSummary {
        name: group.name().into(),
        runs: group.runs().iter().map(|run| run.dir.display().to_string()).collect(),
        parameters: group.parameters(),
        training_flops_per_token: group.flops(),
        tokens: least(ends) as u64,
        final_loss: loss_after(group, least(ends)),
    };
    Ok(Comparison { groups: groups.iter().zip(&all).map(summary).collect(), equal_tokens, equal_compute })
}

/// All groups at one point, which each reaches after so many tokens.
fn standing(groups: &[Group], at: f64, tokens: &[f64]) -> Standing {
    let losses = |(group, tokens): (&Group, &f64)| -> Option<Vec<f64>> {
        group.runs().iter().map(|run| curve::at(&run.history.valid_curve(), *tokens)).collect()
    };
    let losses: Vec<_> = groups.iter().zip(tokens).map(losses).collect();
    let first = losses.first().cloned().flatten();
    let row = |(index, losses): (usize, &Option<Vec<f64>>)| Row {
        name: groups[index].name().into(),
        tokens: tokens[index],
        loss: losses.as_deref().map(Estimate::of),
        difference: match (&first, losses) {
            (Some(first), Some(losses)) if index > 0 => Some(Difference::welch(losses, first)),
            _ => None,
        },
    };
    Standing { at, rows: losses.iter().enumerate().map(row).collect() }
}

#[cfg(test)]
mod tests;
