//! The results in the schema of lm-evaluation-harness 0.4.13.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::answers::Answers;
use crate::task::Origin;
use crate::{Item, Metric};

/// What stands in results beside the numbers.
#[derive(Debug, Clone)]
pub struct RunInfo {
    /// The model as it was given.
    pub model: String,
    /// Its parameters.
    pub parameters: usize,
    /// Type of the parameters in memory.
    pub dtype: String,
    /// Where it ran.
    pub device: String,
    /// Tokens of a batch.
    pub batch_tokens: usize,
    /// Largest number of input tokens.
    pub window: usize,
    /// The id that ends a text, if there is one.
    pub end_of_text: Option<u32>,
    /// Examples of each task at most.
    pub limit: Option<usize>,
    /// Draws for the standard errors of perplexities.
    pub bootstrap: usize,
    /// Seconds that it took.
    pub seconds: f64,
    /// Seconds since 1970 when it began.
    pub date: f64,
}

/// A metric of a task, or of a part of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The metric.
    pub metric: Metric,
    /// Its value.
    pub value: f64,
    /// Its standard error, if there are two examples.
    pub stderr: Option<f64>,
}

/// The metrics of a task, of its groups and of the whole.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskResults {
    /// Of every group.
    pub groups: Vec<GroupResults>,
    /// Of the whole task. Where there are groups, the mean over them, whatever their sizes.
    pub whole: Vec<Measured>,
}

/// The metrics of a part of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupResults {
    /// Its name in results: that of the task and of the group.
    pub name: String,
    /// Its examples that were asked.
    pub examples: usize,
    /// Its examples in the data file.
    pub original: usize,
    /// Its metrics, in the order of the task's.
    pub metrics: Vec<Measured>,
}

impl TaskResults {
    /// The metrics of what a model answered; perplexities are drawn `bootstrap` times for their errors.
    pub fn new(answers: &Answers, bootstrap: usize) -> Self {
        let metrics = || answers.task.metrics.iter().copied().enumerate();
        let measured = |(number, metric): (usize, Metric), group: Option<&str>| {
            let items: Vec<Item> = answers.items(number, group);
            Measured { metric, value: metric.aggregate(&items), stderr: metric.stderr(&items, bootstrap) }
        };
        let of_group = |group: &str| GroupResults {
            name: format!("{}_{group}", answers.task.name),
            examples: answers.items(0, Some(group)).len(),
            original: answers.original_groups.get(group).copied().unwrap_or_default(),
            metrics: metrics().map(|metric| measured(metric, Some(group))).collect(),
        };
        let groups: Vec<GroupResults> = answers.groups().into_iter().map(of_group).collect();
        let whole = metrics().map(|(number, metric)| match groups.is_empty() {
            true => measured((number, metric), None),
            false => mean(metric, groups.iter().map(|group| group.metrics[number])),
        });
        let whole = whole.collect();
        Self { groups, whole }
    }
}

/// The mean over groups, and its error as of independent parts.
fn mean(metric: Metric, parts: impl Iterator<Item = Measured>) -> Measured {
    let parts: Vec<Measured> = parts.collect();
    let count = parts.len() as f64;
    let squares: Option<f64> = parts.iter().map(|part| part.stderr.map(|stderr| stderr * stderr)).sum();
    let value = parts.iter().map(|part| part.value).sum::<f64>() / count;
    Measured { metric, value, stderr: squares.map(|squares| squares.sqrt() / count) }
}

/// The results of one model as the harness writes them.
pub fn results_json(all: &[Answers], info: &RunInfo) -> Value {
    let mut out: Map<String, Value> = Map::new();
    let mut add = |table: &str, name: &str, value: Value| {
        let table = out.entry(table).or_insert_with(|| json!({}));
        if let Some(table) = table.as_object_mut() {
            table.insert(name.into(), value);
        }
    };
    for answers in all {
        let (task, count) = (&answers.task, answers.answers.len());
        let results = TaskResults::new(answers, info.bootstrap);
        add("results", &task.name, metrics_json(&task.name, count, &results.whole));
        let children: Vec<&str> = results.groups.iter().map(|group| group.name.as_str()).collect();
        add("group_subtasks", &task.name, json!(children));
        if !children.is_empty() {
            add("groups", &task.name, metrics_json(&task.name, count, &results.whole));
        }
        let directions: Map<String, Value> =
            task.metrics.iter().map(|metric| (metric.name().into(), metric.higher_is_better().into())).collect();
        let names = children.iter().copied().chain([task.name.as_str()]);
        for name in names {
            add("versions", name, json!(task.version));
            add("n-shot", name, json!(answers.shots));
            add("higher_is_better", name, Value::Object(directions.clone()));
        }
        for GroupResults { name, examples, original, metrics } in &results.groups {
            add("results", name, metrics_json(name, *examples, metrics));
            add("n-samples", name, json!({ "original": original, "effective": examples }));
            add("configs", name, config_json(answers, name));
        }
        add("n-samples", &task.name, json!({ "original": answers.original, "effective": count }));
        add("configs", &task.name, config_json(answers, &task.name));
        add("truncated", &task.name, json!(answers.truncated()));
    }
    out.insert(
        "config".into(),
        json!({
            "model": "contextlm", "model_args": { "pretrained": info.model, "dtype": info.dtype },
            "model_num_parameters": info.parameters, "model_dtype": info.dtype, "batch_tokens": info.batch_tokens,
            "device": info.device, "limit": info.limit, "bootstrap_iters": info.bootstrap,
        }),
    );
    out.insert("contextlm_version".into(), json!(env!("CARGO_PKG_VERSION")));
    out.insert("date".into(), json!(info.date));
    out.insert("model_source".into(), json!("contextlm"));
    out.insert("model_name".into(), json!(info.model));
    out.insert("model_name_sanitized".into(), json!(sanitized(&info.model)));
    out.insert("eot_token_id".into(), json!(info.end_of_text));
    out.insert("max_length".into(), json!(info.window));
    out.insert("total_evaluation_time_seconds".into(), json!(info.seconds.to_string()));
    Value::Object(out)
}

/// A model's name as that of a file, the same for the same name only: where signs had to be replaced, a digest of the
/// whole name follows.
pub fn sanitized(model: &str) -> String {
    let kept = |char: char| if char.is_alphanumeric() || "-._".contains(char) { char } else { '_' };
    let name: String = model.trim_matches('/').chars().map(kept).collect();
    let name = name.trim_start_matches('.');
    if name == model && !name.is_empty() {
        return name.into();
    }
    let digest: String = Sha256::digest(model)[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}-{digest}")
}

fn metrics_json(name: &str, count: usize, metrics: &[Measured]) -> Value {
    let mut table = Map::from_iter([("alias".to_owned(), name.into()), ("sample_len".to_owned(), count.into())]);
    for Measured { metric, value, stderr } in metrics {
        table.insert(format!("{},none", metric.name()), json!(value));
        // What the harness writes where there is none.
        table.insert(format!("{}_stderr,none", metric.name()), stderr.map_or(json!("N/A"), |stderr| json!(stderr)));
    }
    Value::Object(table)
}

fn config_json(answers: &Answers, name: &str) -> Value {
    let mut config = answers.task.to_json();
    if let Some(table) = config.as_object_mut() {
        table.insert("task".into(), json!(name));
        // Where the data could have been had, or that of the whole task again.
        if matches!(answers.origin, Origin::File(_)) || name != answers.task.name {
            table.remove("hub");
        }
        match &answers.origin {
            Origin::File(path) => table.insert("dataset_path".into(), json!(path.to_string_lossy())),
            Origin::Hub { dataset, commit, .. } => {
                table.insert("dataset_path".into(), json!(dataset));
                table.insert("dataset_revision".into(), json!(commit))
            }
        };
        table.insert("num_fewshot".into(), json!(answers.shots));
    }
    config
}

/// What a model answered to every question of a task: the lines of a file.
pub fn samples_jsonl(answers: &Answers) -> String {
    let lines = answers.answers.iter().enumerate().map(|(number, answer)| {
        let likelihoods: Vec<Value> =
            answer.likelihoods.iter().map(|found| json!([found.log_likelihood, found.greedy])).collect();
        let mut line = json!({
            "doc_id": number, "line": answer.line, "target": answer.gold, "resps": likelihoods,
            "truncated": answer.truncated,
        });
        if let Some(table) = line.as_object_mut() {
            if let Some(group) = &answer.group {
                table.insert("group".into(), json!(group));
            }
            for (metric, item) in answers.task.metrics.iter().zip(&answer.items) {
                let weighted = matches!(metric, Metric::WordPerplexity | Metric::BytePerplexity | Metric::BitsPerByte);
                let value = if weighted { json!([item.value, item.weight]) } else { json!(item.value) };
                table.insert(metric.name().into(), value);
            }
        }
        format!("{line}\n")
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_of_files_neither_collide_nor_climb() {
        assert_eq!(sanitized("pythia-70m_v1.0"), "pythia-70m_v1.0");
        assert!(sanitized("org/name").starts_with("org_name-"));
        let names = ["a/b", "a_b", "/a/b", "a b", "a/b/", "..", ".", "../..", "", "/", ".a", "a:b"];
        let files: HashSet<String> = names.iter().map(|name| sanitized(name)).collect();
        assert_eq!(files.len(), names.len());
        assert!(files.iter().all(|file| !file.starts_with('.') && !file.contains(['/', '\\'])), "{files:?}");
    }
}
