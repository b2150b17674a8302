use serde_json::{Map, Value, json};

use crate::answers::Answers;
use crate::metric::{ratio, ratio_stderr};
use crate::{EvalError, Item, Metric};

/// A standard normal value is within this of 0 in 95 of 100 cases.
const NORMAL_95: f64 = 1.959_963_985;

/// How much better one model is than another, on the same examples.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The task.
    pub task: String,
    /// The metric.
    pub metric: Metric,
    /// What is compared: the metric itself, or of perplexities their logarithm.
    pub unit: &'static str,
    /// The second model's minus the first one's.
    pub difference: f64,
    /// Its standard error, from the differences of every single example.
    pub stderr: Option<f64>,
    /// Whether more is better.
    pub higher_is_better: bool,
}

impl Difference {
    /// The difference in standard errors; none where there is no error, or both models answer everything alike.
    pub fn z(&self) -> Option<f64> {
        self.stderr.filter(|stderr| *stderr > 0.0).map(|stderr| self.difference / stderr)
    }

    /// What may be said of the second model: `better`, `worse` at 95 %, else `no difference shown`.
    pub fn verdict(&self) -> &'static str {
        match self.z() {
            Some(z) if z.abs() > NORMAL_95 => {
                if (z > 0.0) == self.higher_is_better {
                    "better"
                } else {
                    "worse"
                }
            }
            _ => "no difference shown",
        }
    }

    /// The difference as JSON.
    pub fn to_json(&self) -> Value {
        let interval = self.stderr.map(|stderr| {
            let half = NORMAL_95 * stderr;
            [self.difference - half, self.difference + half]
        });
        json!({
            "task": self.task, "metric": self.metric.name(), "unit": self.unit, "difference": self.difference,
            "stderr": self.stderr, "interval_95": interval, "z": self.z(), "verdict": self.verdict(),
        })
    }
}

/// Compares what a model answered with what a baseline answered to the same tasks.
///
/// # Errors
/// [`EvalError::Unpaired`] if they were asked different examples.
pub fn compare(baseline: &[Answers], model: &[Answers]) -> Result<Vec<Difference>, EvalError> {
    let mut found = Vec::new();
    for (before, after) in baseline.iter().zip(model) {
        let lines = |answers: &Answers| answers.answers.iter().map(|answer| answer.line).collect::<Vec<_>>();
        if before.task != after.task || before.shots != after.shots || lines(before) != lines(after) {
            return Err(EvalError::Unpaired { task: after.task.name.clone() });
        }
        for (number, &metric) in before.task.metrics.iter().enumerate() {
            found.push(difference(before, after, number, metric));
        }
    }
    if baseline.len() != model.len() {
        let longer = if baseline.len() > model.len() { baseline } else { model };
        let task = longer[baseline.len().min(model.len())].task.name.clone();
        return Err(EvalError::Unpaired { task });
    }
    Ok(found)
}

fn difference(before: &Answers, after: &Answers, number: usize, metric: Metric) -> Difference {
    let (unit, factor) = match metric {
        Metric::Acc | Metric::AccNorm | Metric::AccBytes => ("share", 1.0),
        Metric::Perplexity => ("nats an example", -1.0),
        Metric::WordPerplexity => ("nats a word", -1.0),
        Metric::BytePerplexity => ("nats a byte", -1.0),
        Metric::BitsPerByte => ("bits a byte", -1.0 / std::f64::consts::LN_2),
    };
    // Weights are those of the data, so that both models have the same.
    let items = |group: Option<&str>| -> Vec<Item> {
        let pairs = before.items(number, group).into_iter().zip(after.items(number, group));
        pairs.map(|(before, after)| Item::new(factor * (after.value - before.value), before.weight)).collect()
    };
    let parts: Vec<(f64, Option<f64>)> = match before.groups() {
        groups if groups.is_empty() => vec![of(&items(None))],
        groups => groups.into_iter().map(|group| of(&items(Some(group)))).collect(),
    };
    // The mean over groups, as of the metric itself.
    let count = parts.len() as f64;
    let squares: Option<f64> = parts.iter().map(|(_, stderr)| stderr.map(|stderr| stderr * stderr)).sum();
    Difference {
        task: before.task.name.clone(),
        metric,
        unit,
        difference: parts.iter().map(|(difference, _)| difference).sum::<f64>() / count,
        stderr: squares.map(|squares| squares.sqrt() / count),
        higher_is_better: metric.higher_is_better(),
    }
}

fn of(items: &[Item]) -> (f64, Option<f64>) {
    (ratio(items), ratio_stderr(items))
}

/// Comparisons of several models with the first, as JSON.
pub fn comparison_json(baseline: &str, compared: &[(String, Vec<Difference>)]) -> Value {
    let models: Vec<Value> = compared
        .iter()
        .map(|(name, differences)| {
            let differences: Vec<Value> = differences.iter().map(Difference::to_json).collect();
            Value::Object(Map::from_iter([("model".into(), json!(name)), ("differences".into(), differences.into())]))
        })
        .collect();
    json!({ "baseline": baseline, "models": models })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::answers::Answer;
    use crate::task::Task;

    /// Answers whose items are given, with groups if there are any.
    fn answers(shape: &str, metric: &str, items: &[(f64, f64)], groups: &[&str]) -> Answers {
        let text = format!(
            "name = \"t\"\nversion = 1\nabout = \"a\"\nfiles = [\"t\"]\nshape = \"{shape}\"\nmetrics = [\"{metric}\"]"
        );
        let answer = |(number, &(value, weight)): (usize, &(f64, f64))| Answer {
            line: number as u64 + 1,
            group: groups.get(number).map(|group| group.to_string()),
            likelihoods: Vec::new(),
            gold: None,
            items: vec![Item { value, weight }],
            truncated: 0,
        };
        let task = Task::parse(&text, Path::new("t.toml")).unwrap();
        let answers = items.iter().enumerate().map(answer).collect();
        Answers { task, path: "t".into(), shots: 0, original: items.len(), answers }
    }

    fn shares(right: &[u8]) -> Vec<(f64, f64)> {
        right.iter().map(|&right| (f64::from(right), 1.0)).collect()
    }

    #[test]
    fn the_error_is_that_of_the_differences_of_examples() {
        let (one, two) = (shares(&[1, 0, 0, 1, 0, 0, 1, 0]), shares(&[1, 1, 0, 1, 1, 0, 1, 1]));
        let of = |items: &[(f64, f64)]| vec![answers("choices", "acc", items, &[])];
        let found = compare(&of(&one), &of(&two)).unwrap().remove(0);
        // Differences 0 1 0 0 1 0 0 1: mean 3/8, sample deviation sqrt(15/56).
        assert_eq!(found.difference, 0.375);
        assert!((found.stderr.unwrap() - (15.0_f64 / 56.0 / 8.0).sqrt()).abs() < 1e-12);
        assert_eq!(found.verdict(), "better");
        assert_eq!(compare(&of(&two), &of(&one)).unwrap()[0].verdict(), "worse");
        let alone = (Metric::Acc.stderr(&of(&one)[0].items(0, None), 0).unwrap().powi(2) * 2.0).sqrt();
        assert!(found.stderr.unwrap() < alone, "paired, it is smaller than of two samples");
        let same = compare(&of(&one), &of(&one)).unwrap().remove(0);
        assert_eq!((same.difference, same.z(), same.verdict()), (0.0, None, "no difference shown"));
    }

    #[test]
    fn perplexities_are_compared_by_their_logarithm() {
        let (one, two) = ([(-4.0, 2.0), (-9.0, 3.0), (-2.0, 1.0)], [(-3.0, 2.0), (-6.0, 3.0), (-1.5, 1.0)]);
        let of = |items: &[(f64, f64)]| vec![answers("text", "word_perplexity", items, &[])];
        let found = compare(&of(&one), &of(&two)).unwrap().remove(0);
        let log = |items: &[(f64, f64)]| Metric::WordPerplexity.aggregate(&of(items)[0].items(0, None)).ln();
        assert!((found.difference - (log(&two) - log(&one))).abs() < 1e-12);
        assert_eq!((found.verdict(), found.unit), ("better", "nats a word"));
    }

    #[test]
    fn groups_count_alike_whatever_their_size() {
        let groups = ["a", "a", "a", "a", "b", "b"];
        let of = |right: &[u8]| vec![answers("pair", "acc", &shares(right), &groups)];
        let found = compare(&of(&[0, 0, 0, 0, 0, 0]), &of(&[1, 0, 0, 0, 1, 0])).unwrap().remove(0);
        assert_eq!(found.difference, (0.25 + 0.5) / 2.0);
        assert!((found.stderr.unwrap() - (0.25_f64.powi(2) + 0.5_f64.powi(2)).sqrt() / 2.0).abs() < 1e-12);
    }

    #[test]
    fn answers_to_other_questions_are_refused() {
        let of = |right: &[u8]| vec![answers("choices", "acc", &shares(right), &[])];
        assert!(matches!(compare(&of(&[1, 0]), &of(&[1, 0, 1])), Err(EvalError::Unpaired { .. })));
        assert!(matches!(compare(&of(&[1, 0]), &[]), Err(EvalError::Unpaired { task }) if task == "t"));
    }
}
