use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Shape, Task, wikitext};
use crate::python::split_count;

/// One example of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Its data file.
    pub path: Arc<Path>,
    /// Its line in the file, from 1; of a Parquet file its row.
    pub line: u64,
    /// The part of the task that it belongs to.
    pub group: Option<String>,
    /// What is asked.
    pub asked: Asked,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// Which of several is likeliest.
    Choice {
        /// What is compared.
        choices: Vec<Choice>,
        /// Number of the right one.
        gold: usize,
    },
    /// How likely a completion is.
    Completion {
        /// What is given.
        context: String,
        /// What follows.
        completion: String,
    },
    /// How likely a whole text is.
    Text {
        /// The text as the model gets it.
        text: String,
        /// Its words, as the harness counts them before the text is put back into its form.
        words: usize,
        /// Its bytes before that.
        bytes: usize,
    },
}

/// One of several continuations.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// What is given.
    pub context: String,
    /// What is scored behind it.
    pub continuation: String,
    /// Characters (code points) that acc_norm divides by.
    pub chars: usize,
    /// Bytes that acc_bytes divides by.
    pub bytes: usize,
}

impl Choice {
    /// `counted` with its leading space is scored, and counted without.
    fn new(context: &str, continuation: &str) -> Self {
        let counted = continuation.strip_prefix(' ').unwrap_or(continuation);
        let (chars, bytes) = (counted.chars().count(), counted.len());
        Self { context: context.into(), continuation: continuation.into(), chars, bytes }
    }
}

impl Question {
    /// The example that a record of the data is; the error says what is wrong with it.
    pub(crate) fn new(task: &Task, path: Arc<Path>, line: u64, record: &Map<String, Value>) -> Result<Self, String> {
        let keys = task.shape.keys();
        let shaped = task.process.and_then(|process| process.shaped(record)).transpose()?;
        let record = shaped.as_ref().and_then(Value::as_object).unwrap_or(record);
        let filled: Map<String, Value>;
        // The prompt counts wherever it can be filled; rows that have the shape already are told by what it lacks.
        let can_fill = task.prompt.values().all(|template| template.has_keys(record));
        let has_shape = keys.iter().all(|key| record.contains_key(*key));
        let record = if task.prompt.is_empty() || (!can_fill && has_shape) {
            record
        } else {
            let made = task.prompt.iter().map(|(key, template)| Ok((key.clone(), template.fill(record)?)));
            let made = made.collect::<Result<Map<_, _>, String>>()?;
            filled = record.clone().into_iter().chain(made).collect();
            &filled
        };
        let text = |key: &str| string(record, key);
        let asked = match task.shape {
            Shape::Choices => {
                let context = text("context")?;
                let choices: Vec<_> =
                    list(record, "choices")?.iter().map(|choice| Choice::new(context, choice)).collect();
                Asked::Choice { gold: gold(record, choices.len(), "choices")?, choices }
            }
            Shape::Contexts => {
                let continuation = text("continuation")?;
                let contexts = list(record, "contexts")?;
                let choices: Vec<_> = contexts.iter().map(|context| Choice::new(context, continuation)).collect();
                Asked::Choice { gold: gold(record, choices.len(), "contexts")?, choices }
            }
            Shape::Pair => {
                let sentence = |key| Ok::<_, String>(Choice::new("", &format!(" {}", text(key)?)));
                Asked::Choice { choices: vec![sentence("good")?, sentence("bad")?], gold: 0 }
            }
            Shape::Completion => {
                Asked::Completion { context: text("context")?.into(), completion: text("completion")?.into() }
            }
            Shape::Text => {
                let page = text("text")?;
                let (words, bytes) = (split_count(page), page.len());
                let text = if task.wikitext { wikitext::detokenize(page) } else { page.into() };
                Asked::Text { text, words, bytes }
            }
        };
        asked.check()?;
        let group = match record.get("group") {
            None | Some(Value::Null) => None,
            Some(Value::String(group)) => Some(group.clone()),
            Some(other) => return Err(format!("group = {other}: must be a string")),
        };
        Ok(Self { path, line, group, asked })
    }

    /// The question with its answer, as it stands before another question.
    pub(crate) fn solved(&self) -> String {
        match &self.asked {
            Asked::Choice { choices, gold } => {
                choices.get(*gold).map_or(String::new(), |choice| format!("{}{}", choice.context, choice.continuation))
            }
            Asked::Completion { context, completion } => format!("{context}{completion}"),
            Asked::Text { text, .. } => text.clone(),
        }
    }

    /// Puts solved examples before the question.
    pub(crate) fn put_before(&mut self, shots: &str) {
        match &mut self.asked {
            Asked::Choice { choices, .. } => {
                choices.iter_mut().for_each(|choice| choice.context.insert_str(0, shots));
            }
            Asked::Completion { context, .. } => context.insert_str(0, shots),
            Asked::Text { .. } => {}
        }
    }
}

impl Asked {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Choice { choices, .. } => match choices.iter().position(|choice| choice.chars == 0) {
                Some(number) => Err(format!("choice {number} is empty: every choice needs a text")),
                None => Ok(()),
            },
            Self::Completion { completion, .. } if completion.is_empty() => {
                Err("completion is empty: there is nothing to score".into())
            }
            Self::Text { text, .. } if text.is_empty() => Err("text is empty: there is nothing to score".into()),
            _ => Ok(()),
        }
    }
}

fn string<'r>(record: &'r Map<String, Value>, key: &str) -> Result<&'r str, String> {
    match record.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("{key} = {}: must be a string", shortened(other))),
        None => Err(format!("no key {key:?}: its shape asks for one")),
    }
}

fn list<'r>(record: &'r Map<String, Value>, key: &str) -> Result<Vec<&'r str>, String> {
    let texts = match record.get(key) {
        Some(Value::Array(values)) => values.iter().map(Value::as_str).collect::<Option<Vec<_>>>(),
        Some(_) => None,
        None => return Err(format!("no key {key:?}: its shape asks for one")),
    };
    match texts {
        Some(texts) if texts.is_empty() => Err(format!("{key} is empty: give at least one")),
        Some(texts) => Ok(texts),
        None => Err(format!("{key} must be a list of strings")),
    }
}

/// The number of the right answer: a number, or what stands at its place in `labels`.
fn gold(record: &Map<String, Value>, count: usize, of: &str) -> Result<usize, String> {
    let gold = record.get("gold").ok_or("no key \"gold\": its shape asks for one")?;
    if record.contains_key("labels") && gold.is_string() {
        let labels = list(record, "labels")?;
        // OpenBookQA's answers have spaces before them here and there.
        let answer = gold.as_str().map(str::trim_start);
        let at = labels.iter().position(|label| Some(*label) == answer);
        return at.filter(|at| *at < count).ok_or_else(|| format!("gold = {gold}: must be one of labels, {labels:?}"));
    }
    let number = gold.as_u64().or_else(|| gold.as_str()?.parse().ok());
    match number.and_then(|number| usize::try_from(number).ok()) {
        Some(number) if number < count => Ok(number),
        _ => Err(format!("gold = {}: must be from 0 to {}, as there are {count} {of}", shortened(gold), count - 1)),
    }
}

/// A value for a message.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(shape: &str, metric: &str, rest: &str) -> Task {
        let text = format!(
            "name = \"t\"\nversion = 1\nabout = \"a\"\nfiles = [\"t.jsonl\"]\nshape = \"{shape}\"\nmetrics = [\"{metric}\"]\n{rest}"
        );
        Task::parse(&text, std::path::Path::new("t.toml")).unwrap()
    }

    fn question(task: &Task, record: Value) -> Result<Question, String> {
        Question::new(task, Path::new("t.jsonl").into(), 7, record.as_object().unwrap())
    }

    #[test]
    fn every_shape_is_read() {
        let choices = question(
            &task("choices", "acc", ""),
            json!({ "context": "c", "choices": [" ä b", "x"], "gold": 1, "extra": [] }),
        );
        let choice = |context: &str, continuation: &str, chars, bytes| Choice {
            context: context.into(),
            continuation: continuation.into(),
            chars,
            bytes,
        };
        assert_eq!(
            choices.unwrap().asked,
            Asked::Choice { choices: vec![choice("c", " ä b", 3, 4), choice("c", "x", 1, 1)], gold: 1 }
        );
        let contexts =
            question(&task("contexts", "acc", ""), json!({ "contexts": ["a", "b"], "continuation": " c", "gold": 0 }))
                .unwrap();
        assert_eq!(
            contexts.asked,
            Asked::Choice { choices: vec![choice("a", " c", 1, 1), choice("b", " c", 1, 1)], gold: 0 }
        );
        assert_eq!(contexts.solved(), "a c");
        let pair = question(&task("pair", "acc", ""), json!({ "good": "G.", "bad": "B.", "group": "g" })).unwrap();
        assert_eq!(
            (pair.asked, pair.group.as_deref(), pair.line),
            (Asked::Choice { choices: vec![choice("", " G.", 2, 2), choice("", " B.", 2, 2)], gold: 0 }, Some("g"), 7)
        );
        let mut completion =
            question(&task("completion", "acc", ""), json!({ "context": "a", "completion": " b" })).unwrap();
        completion.put_before("s\n\n");
        assert_eq!(completion.asked, Asked::Completion { context: "s\n\na".into(), completion: " b".into() });
        let text = question(&task("text", "bits_per_byte", "wikitext = true"), json!({ "text": " a , b \n" })).unwrap();
        assert_eq!(text.asked, Asked::Text { text: " a, b\n".into(), words: 5, bytes: 8 });
    }

    #[test]
    fn prompts_make_the_shape_of_other_records_and_leave_those_that_have_it() {
        let task = task(
            "choices",
            "acc",
            "[prompt]\ncontext = \"Q: {q}\\nA:\"\nchoices = \" {c.text}\"\nlabels = \"{c.label}\"\ngold = \"{key}\"\n",
        );
        let made =
            question(&task, json!({ "q": "Why?", "c": { "text": ["no", "yes"], "label": ["A", "B"] }, "key": "B" }))
                .unwrap();
        let has = question(&task, json!({ "context": "Q: Why?\nA:", "choices": [" no", " yes"], "gold": 1 })).unwrap();
        assert_eq!(made, has);
        assert_eq!(made.solved(), "Q: Why?\nA: yes");
        // A row that has both is asked as the task file says.
        let both = json!({ "q": "Why?", "c": { "text": ["no", "yes"], "label": ["A", "B"] }, "key": "B",
            "context": "other", "choices": ["a", "b"], "gold": 0 });
        assert_eq!(question(&task, both).unwrap(), made);
        let own = Task { prompt: Default::default(), ..task.clone() };
        let row = json!({ "context": "Q: Why?\nA:", "choices": [" no", " yes"], "gold": 1 });
        assert_eq!(question(&own, row).unwrap(), made);
        let error =
            question(&task, json!({ "q": "Why?", "c": { "text": ["no"], "label": ["A"] }, "key": "C" })).unwrap_err();
        assert!(error.contains("gold = \"C\": must be one of labels, [\"A\"]"), "{error}");
    }

    #[test]
    fn what_does_not_fit_its_shape_is_an_error() {
        for (shape, record, reason) in [
            ("choices", json!({ "choices": ["a"], "gold": 0 }), "no key \"context\""),
            ("choices", json!({ "context": 3, "choices": ["a"], "gold": 0 }), "context = 3: must be a string"),
            ("choices", json!({ "context": "", "choices": [], "gold": 0 }), "choices is empty"),
            ("choices", json!({ "context": "", "choices": [" "], "gold": 0 }), "choice 0 is empty"),
            ("choices", json!({ "context": "", "choices": ["a", ""], "gold": 0 }), "choice 1 is empty"),
            ("choices", json!({ "context": "", "choices": ["a", 4], "gold": 0 }), "choices must be a list of strings"),
            (
                "choices",
                json!({ "context": "", "choices": ["a", "b"], "gold": 2 }),
                "gold = 2: must be from 0 to 1, as there are 2 choices",
            ),
            ("choices", json!({ "context": "", "choices": ["a", "b"], "gold": -1 }), "gold = -1: must be"),
            ("choices", json!({ "context": "", "choices": ["a", "b"], "gold": 0.5 }), "gold = 0.5: must be"),
            ("choices", json!({ "context": "", "choices": ["a", "b"] }), "no key \"gold\""),
            ("contexts", json!({ "contexts": ["a"], "continuation": "b", "gold": 1 }), "as there are 1 contexts"),
            ("contexts", json!({ "contexts": ["a"], "continuation": "", "gold": 0 }), "choice 0 is empty"),
            ("pair", json!({ "good": "a", "bad": "" }), "choice 1 is empty"),
            ("pair", json!({ "good": "a", "bad": "b", "group": 3 }), "group = 3: must be a string"),
            ("completion", json!({ "context": "a", "completion": "" }), "completion is empty"),
            ("text", json!({ "text": "" }), "text is empty"),
        ] {
            let metric = if shape == "text" { "bits_per_byte" } else { "acc" };
            let error = question(&task(shape, metric, ""), record.clone()).unwrap_err();
            assert!(error.contains(reason), "{record}: {error}");
        }
    }
}
