use std::collections::HashMap;

use crate::score::Likelihood;
use crate::task::{Asked, Choice, Origin, Question, Task, TaskData};
use crate::{Item, Metric};

/// What a model answered to a task.
#[derive(Debug, Clone)]
pub struct Answers {
    /// The task.
    pub task: Task,
    /// What its data are.
    pub origin: Origin,
    /// Solved examples before each question.
    pub shots: usize,
    /// Examples of the data file.
    pub original: usize,
    /// Examples of every group in it, where there are groups.
    pub original_groups: HashMap<String, usize>,
    /// One for every question, in their order.
    pub answers: Vec<Answer>,
}

/// What a model answered to one question.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Line of the question in the data file, from 1.
    pub line: u64,
    /// The part of the task that it belongs to.
    pub group: Option<String>,
    /// Likelihoods of its choices; of a completion; of the windows of a text.
    pub likelihoods: Vec<Likelihood>,
    /// Number of the right choice.
    pub gold: Option<usize>,
    /// What it adds to every metric of the task, in their order.
    pub items: Vec<Item>,
    /// Requests that were cut on the left to fit the window.
    pub truncated: usize,
}

impl Answers {
    pub(crate) fn new(task: &Task, data: &TaskData) -> Self {
        let (origin, shots, original) = (data.origin.clone(), data.shots, data.original);
        let original_groups = data.original_groups.clone();
        Self { task: task.clone(), origin, shots, original, original_groups, answers: Vec::new() }
    }

    /// The groups in the order in which they first come; none where the data have none.
    pub fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = Vec::new();
        for group in self.answers.iter().filter_map(|answer| answer.group.as_deref()) {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        groups
    }

    /// What the examples add to the metric of this number; of one group, or of all.
    pub fn items(&self, metric: usize, group: Option<&str>) -> Vec<Item> {
        let wanted = |answer: &&Answer| group.is_none() || answer.group.as_deref() == group;
        self.answers.iter().filter(wanted).map(|answer| answer.items[metric]).collect()
    }

    /// Requests that were cut on the left.
    pub fn truncated(&self) -> usize {
        self.answers.iter().map(|answer| answer.truncated).sum()
    }
}

impl Answer {
    pub(crate) fn new(task: &Task, question: &Question, likelihoods: Vec<Likelihood>, truncated: usize) -> Self {
        let item = |&metric: &Metric| item(metric, &question.asked, &likelihoods);
        let gold = match question.asked {
            Asked::Choice { gold, .. } => Some(gold),
            _ => None,
        };
        let items = task.metrics.iter().map(item).collect();
        Self { line: question.line, group: question.group.clone(), likelihoods, gold, items, truncated }
    }
}

fn item(metric: Metric, asked: &Asked, likelihoods: &[Likelihood]) -> Item {
    let sum: f64 = likelihoods.iter().map(|likelihood| likelihood.log_likelihood).sum();
    match asked {
        Asked::Choice { choices, gold } => {
            let over = |choice: &Choice| match metric {
                Metric::AccNorm => choice.chars as f64,
                Metric::AccBytes => choice.bytes as f64,
                _ => 1.0,
            };
            let values = choices.iter().zip(likelihoods).map(|(choice, found)| found.log_likelihood / over(choice));
            Item::new(f64::from(u8::from(largest(values) == *gold)), 1.0)
        }
        Asked::Completion { .. } if metric == Metric::Acc => {
            Item::new(f64::from(u8::from(likelihoods.iter().all(|likelihood| likelihood.greedy))), 1.0)
        }
        Asked::Completion { .. } => Item::new(sum, 1.0),
        Asked::Text { words, .. } if metric == Metric::WordPerplexity => Item::new(sum, *words as f64),
        Asked::Text { bytes, .. } => Item::new(sum, *bytes as f64),
    }
}

/// Number of the largest value, of equal ones the first.
fn largest(values: impl Iterator<Item = f64>) -> usize {
    let better =
        |(best, most): (usize, f64), (number, value)| if value > most { (number, value) } else { (best, most) };
    values.enumerate().fold((0, f64::NEG_INFINITY), better).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likelihoods(values: &[f64]) -> Vec<Likelihood> {
        values.iter().map(|&log_likelihood| Likelihood { log_likelihood, greedy: log_likelihood > -1.0 }).collect()
    }

    /// Characters, bytes and neither each make another choice the best one.
    #[test]
    fn choices_are_counted_by_what_the_metric_divides_by() {
        let choice = |chars, bytes| Choice { context: String::new(), continuation: String::new(), chars, bytes };
        let choices = vec![choice(1, 1), choice(10, 10), choice(5, 20)];
        let found = likelihoods(&[-4.0, -20.0, -10.5]);
        for (metric, best) in [(Metric::Acc, 0), (Metric::AccNorm, 1), (Metric::AccBytes, 2)] {
            for gold in 0..3 {
                let asked = Asked::Choice { choices: choices.clone(), gold };
                assert_eq!(
                    item(metric, &asked, &found),
                    Item::new(f64::from(u8::from(gold == best)), 1.0),
                    "{metric:?}"
                );
            }
        }
        assert_eq!(largest([-2.0, -1.0, -1.0].into_iter()), 1, "of equal ones the first");
    }

    #[test]
    fn completions_and_texts_add_their_likelihood() {
        let completion = Asked::Completion { context: "a".into(), completion: "b".into() };
        assert_eq!(item(Metric::Perplexity, &completion, &likelihoods(&[-3.5])), Item::new(-3.5, 1.0));
        assert_eq!(item(Metric::Acc, &completion, &likelihoods(&[-3.5])), Item::new(0.0, 1.0));
        assert_eq!(item(Metric::Acc, &completion, &likelihoods(&[-0.5])), Item::new(1.0, 1.0));
        let text = Asked::Text { text: "t".into(), words: 3, bytes: 14 };
        assert_eq!(item(Metric::WordPerplexity, &text, &likelihoods(&[-3.0, -4.0])), Item::new(-7.0, 3.0));
        assert_eq!(item(Metric::BitsPerByte, &text, &likelihoods(&[-3.0, -4.0])), Item::new(-7.0, 14.0));
    }
}
