//! Results for people: tables in Markdown.

use std::fmt::Write;

use crate::answers::Answers;
use crate::compare::Difference;
use crate::results::{Measured, TaskResults};

/// The metrics of one model, a row each.
pub fn results_table(all: &[Answers], bootstrap: usize) -> String {
    let mut rows = vec![["task", "version", "shots", "examples", "metric", "value", "stderr"].map(String::from)];
    for answers in all {
        let (task, shots) = (&answers.task, answers.shots);
        let results = TaskResults::new(answers, bootstrap);
        let mut add = |name: &str, count: usize, metrics: &[Measured]| {
            for (number, measured) in metrics.iter().enumerate() {
                let arrow = if measured.metric.higher_is_better() { '↑' } else { '↓' };
                let once = |text: String| if number == 0 { text } else { String::new() };
                rows.push([
                    once(name.into()),
                    once(task.version.to_string()),
                    once(shots.to_string()),
                    once(count.to_string()),
                    format!("{} {arrow}", measured.metric.name()),
                    format!("{:.4}", measured.value),
                    measured.stderr.map_or("N/A".into(), |stderr| format!("{stderr:.4}")),
                ]);
            }
        };
        add(&task.name, answers.answers.len(), &results.whole);
        for group in &results.groups {
            add(&format!(" - {}", group.name), group.examples, &group.metrics);
        }
    }
    let mut text = markdown(&rows);
    for answers in all.iter().filter(|answers| answers.truncated() > 0) {
        let (task, count) = (&answers.task.name, answers.truncated());
        // Writing to a string does not fail.
        let _ = writeln!(text, "{task}: {count} inputs were longer than the window and lost their first tokens");
    }
    text
}

/// What a model has over the baseline, a row a metric.
pub fn comparison_table(baseline: &str, model: &str, differences: &[Difference]) -> String {
    let mut rows = vec![["task", "metric", "difference", "stderr", "t", "", "unit"].map(String::from)];
    for found in differences {
        let number = |value: Option<f64>, digits| value.map_or("N/A".into(), |value| format!("{value:.digits$}"));
        rows.push([
            found.task.clone(),
            found.metric.name().into(),
            format!("{:+.4}", found.difference),
            number(found.stderr, 4),
            number(found.t(), 2),
            found.verdict().into(),
            found.unit.into(),
        ]);
    }
    format!("{model} against {baseline}, paired by example, 95 % by Student's t\n\n{}", markdown(&rows))
}

fn markdown<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: &[String; N]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!(" {cell:width$} "));
        format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
    };
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        text.push_str(&line(row));
        if number == 0 {
            text.push_str(&format!("|{}|\n", widths.map(|width| "-".repeat(width + 2)).join("|")));
        }
    }
    text
}
