use serde_json::{Map, Value, json};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::answers::Answers;
use crate::metric::{ratio, ratio_stderr};
use crate::{EvalError, Item, Metric};

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
    /// Its standard error, from the differences of every single example; none of a single one.
    pub stderr: Option<f64>,
    /// Degrees of freedom of that error: the examples less one; of a mean over groups by Welch and Satterthwaite.
    pub degrees_of_freedom: f64,
    /// Whether more is better.
    pub higher_is_better: bool,
}

impl Difference {
    /// The difference in standard errors, Student's t; none where there is no error, or all examples differ alike.
    pub fn t(&self) -> Option<f64> {
        self.stderr.filter(|stderr| *stderr > 0.0).map(|stderr| self.difference / stderr)
    }

    /// The difference that is there with 95 %, by Student's t; none where t is none.
    pub fn interval(&self) -> Option<[f64; 2]> {
        let stderr = self.stderr.filter(|stderr| *stderr > 0.0)?;
        let distribution = StudentsT::new(0.0, 1.0, self.degrees_of_freedom).ok()?;
        let half = distribution.inverse_cdf(0.975) * stderr;
        Some([self.difference - half, self.difference + half])
    }

    /// What may be said of the second model: `better` or `worse` if 0 is outside the interval of 95 %, else `no difference
    /// shown`. Where all examples differ by the same, or there is but one, no error tells what chance can do, and that is
    /// what is said.
    pub fn verdict(&self) -> &'static str {
        match (self.interval(), self.stderr) {
            (Some([low, high]), _) if low > 0.0 || high < 0.0 => {
                if (self.difference > 0.0) == self.higher_is_better {
                    "better"
                } else {
                    "worse"
                }
            }
            (None, None) => "one example: no error to go by",
            (None, Some(_)) if self.difference != 0.0 => "all examples differ alike: no error to go by",
            _ => "no difference shown",
        }
    }

    /// The difference as JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "task": self.task, "metric": self.metric.name(), "unit": self.unit, "difference": self.difference,
            "stderr": self.stderr, "degrees_of_freedom": self.degrees_of_freedom, "interval_95": self.interval(),
            "t": self.t(), "verdict": self.verdict(),
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
    let parts: Vec<Part> = match before.groups() {
        groups if groups.is_empty() => vec![Part::of(&items(None))],
        groups => groups.into_iter().map(|group| Part::of(&items(Some(group)))).collect(),
    };
    // The mean over groups, as of the metric itself.
    let count = parts.len() as f64;
    let squares: Option<f64> = parts.iter().map(|part| part.stderr.map(|stderr| stderr * stderr)).sum();
    Difference {
        task: before.task.name.clone(),
        metric,
        unit,
        difference: parts.iter().map(|part| part.difference).sum::<f64>() / count,
        stderr: squares.map(|squares| squares.sqrt() / count),
        degrees_of_freedom: degrees_of_freedom(&parts),
        higher_is_better: metric.higher_is_better(),
    }
}

/// The difference of all examples, or of a group of them.
struct Part {
    difference: f64,
    stderr: Option<f64>,
    /// Its examples less one.
    free: f64,
}

impl Part {
    fn of(items: &[Item]) -> Self {
        let free = items.len().saturating_sub(1) as f64;
        Self { difference: ratio(items), stderr: ratio_stderr(items), free }
    }
}

/// Of the sum of independent parts, by Welch and Satterthwaite; of one part its own.
fn degrees_of_freedom(parts: &[Part]) -> f64 {
    let (mut variance, mut shares) = (0.0, 0.0);
    for part in parts.iter().filter(|part| part.free > 0.0) {
        let square = part.stderr.unwrap_or_default().powi(2);
        variance += square;
        shares += square * square / part.free;
    }
    match parts {
        [part] => part.free,
        _ if shares > 0.0 => variance * variance / shares,
        _ => parts.iter().map(|part| part.free).sum(),
    }
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
    use crate::task::{Origin, Task};

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
        Answers {
            task,
            origin: Origin::File("t".into()),
            shots: 0,
            original: items.len(),
            original_groups: Default::default(),
            answers,
        }
    }

    fn shares(right: &[u8]) -> Vec<(f64, f64)> {
        right.iter().map(|&right| (f64::from(right), 1.0)).collect()
    }

    #[test]
    fn the_error_is_that_of_the_differences_of_examples() {
        let (one, two) = (shares(&[1, 0, 0, 1, 0, 0, 0, 0]), shares(&[1, 1, 0, 1, 1, 0, 1, 1]));
        let of = |items: &[(f64, f64)]| vec![answers("choices", "acc", items, &[])];
        let found = compare(&of(&one), &of(&two)).unwrap().remove(0);
        // Differences 0 1 0 0 1 0 1 1: mean 1/2, sample deviation sqrt(2/7), t of 7 degrees of freedom 2.3646.
        assert_eq!((found.difference, found.degrees_of_freedom), (0.5, 7.0));
        assert!((found.stderr.unwrap() - (2.0_f64 / 7.0 / 8.0).sqrt()).abs() < 1e-12);
        let low = found.interval().unwrap()[0];
        assert!((low - (0.5 - 2.364_624_251_6 * found.stderr.unwrap())).abs() < 1e-9, "{low}");
        assert_eq!(found.verdict(), "better");
        assert_eq!(compare(&of(&two), &of(&one)).unwrap()[0].verdict(), "worse");
        let alone = (Metric::Acc.stderr(&of(&one)[0].items(0, None), 0).unwrap().powi(2) * 2.0).sqrt();
        assert!(found.stderr.unwrap() < alone, "paired, it is smaller than of two samples");
        let same = compare(&of(&one), &of(&one)).unwrap().remove(0);
        assert_eq!((same.difference, same.t(), same.verdict()), (0.0, None, "no difference shown"));
    }

    /// Three standard errors are much by the normal distribution, and little with 2 degrees of freedom (4.303).
    #[test]
    fn few_examples_show_little() {
        let of = |items: &[f64]| {
            vec![answers("completion", "perplexity", &items.iter().map(|&item| (item, 1.0)).collect::<Vec<_>>(), &[])]
        };
        let found = compare(&of(&[0.0, 0.0, 0.0]), &of(&[-1.0, -2.0, -3.0])).unwrap().remove(0);
        assert!((found.t().unwrap() - 12.0_f64.sqrt()).abs() < 1e-12, "{found:?}");
        assert_eq!(found.verdict(), "no difference shown");
        assert!(found.interval().unwrap()[0] < 0.0);
    }

    #[test]
    fn without_an_error_the_verdict_says_so() {
        let of = |right: &[u8]| vec![answers("choices", "acc", &shares(right), &[])];
        let verdict = |one: &[u8], two: &[u8]| compare(&of(one), &of(two)).unwrap().remove(0);
        let alike = verdict(&[0, 0, 0], &[1, 1, 1]);
        assert_eq!((alike.stderr, alike.t(), alike.interval()), (Some(0.0), None, None));
        assert_eq!(alike.verdict(), "all examples differ alike: no error to go by");
        assert_eq!(verdict(&[0], &[1]).verdict(), "one example: no error to go by");
        assert_eq!(verdict(&[1, 0], &[1, 0]).verdict(), "no difference shown");
    }

    #[test]
    fn perplexities_are_compared_by_their_logarithm() {
        let (one, two) = ([(-4.0, 2.0), (-9.0, 3.0), (-2.0, 1.0)], [(-2.0, 2.0), (-6.0, 3.0), (-1.1, 1.0)]);
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
        // Squares 1/16 of 3 and 1/4 of 1 degrees of freedom: (5/16)^2 / (1/768 + 1/16).
        assert!((found.degrees_of_freedom - 0.3125_f64.powi(2) / (1.0 / 768.0 + 0.0625)).abs() < 1e-12);
    }

    #[test]
    fn answers_to_other_questions_are_refused() {
        let of = |right: &[u8]| vec![answers("choices", "acc", &shares(right), &[])];
        assert!(matches!(compare(&of(&[1, 0]), &of(&[1, 0, 1])), Err(EvalError::Unpaired { .. })));
        assert!(matches!(compare(&of(&[1, 0]), &[]), Err(EvalError::Unpaired { task }) if task == "t"));
    }
}
