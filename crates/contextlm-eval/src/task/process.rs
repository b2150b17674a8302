//! Rows of the hub whose shape a template cannot make, as lm-evaluation-harness 0.4.13 makes it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::python::is_space;

/// Whose rows they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Process {
    /// `{activity_label, ctx_a, ctx_b, endings, label}`: the context is put together, and all texts lose WikiHow's marks.
    Hellaswag,
    /// `{text}`: the completion is the last word.
    Lambada,
    /// `{support, question, distractor1, distractor2, distractor3, correct_answer}`.
    Sciq,
    /// `{sentence, option1, option2, answer}`: a blank `_` is filled with either option.
    Winogrande,
}

impl Process {
    /// The keys of a row that it is for.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Hellaswag => &["activity_label", "ctx_a", "ctx_b", "endings", "label"],
            Self::Lambada => &["text"],
            Self::Sciq => &["support", "question", "distractor1", "distractor2", "distractor3", "correct_answer"],
            Self::Winogrande => &["sentence", "option1", "option2", "answer"],
        }
    }

    /// The keys of the shape for a row of the hub; `None` for a row that is none.
    pub(super) fn shaped(self, row: &Map<String, Value>) -> Option<Result<Value, String>> {
        let is_row = self.keys().iter().all(|key| row.contains_key(*key));
        is_row.then(|| self.shape(row))
    }

    fn shape(self, row: &Map<String, Value>) -> Result<Value, String> {
        let text = |key: &str| match row.get(key) {
            Some(Value::String(text)) => Ok(text.as_str()),
            _ => Err(format!("{key} must be a string")),
        };
        match self {
            Self::Hellaswag => {
                let endings = row.get("endings").and_then(Value::as_array).ok_or("endings must be a list")?;
                let choice = |ending: &Value| {
                    ending.as_str().map(|ending| format!(" {}", without_marks(ending))).ok_or("endings must be strings")
                };
                let choices = endings.iter().map(choice).collect::<Result<Vec<_>, _>>()?;
                let (activity, a, b) = (text("activity_label")?, text("ctx_a")?, capitalized(text("ctx_b")?));
                let context = without_marks(&format!("{activity}: {a} {b}"));
                Ok(json!({ "context": context, "choices": choices, "gold": row.get("label") }))
            }
            Self::Lambada => {
                let text = text("text")?;
                let (context, word) = text.rsplit_once(' ').unwrap_or(("", text));
                Ok(json!({ "context": context, "completion": format!(" {word}") }))
            }
            Self::Sciq => {
                let support = text("support")?.trim_start_matches(is_space);
                let context = format!("{support}\nQuestion: {}\nAnswer:", text("question")?);
                let choices = ["distractor1", "distractor2", "distractor3", "correct_answer"];
                let choices = choices.map(|key| text(key).map(|choice| format!(" {choice}")));
                let choices = choices.into_iter().collect::<Result<Vec<_>, _>>()?;
                Ok(json!({ "context": context, "choices": choices, "gold": 3 }))
            }
            Self::Winogrande => {
                let sentence = text("sentence")?;
                let (before, behind) = sentence.split_once('_').ok_or("sentence has no blank _")?;
                let contexts = [format!("{before}{}", text("option1")?), format!("{before}{}", text("option2")?)];
                let gold = match text("answer")? {
                    "1" => 0,
                    "2" => 1,
                    other => return Err(format!("answer = {other:?}: must be \"1\" or \"2\"")),
                };
                let continuation = format!(" {}", behind.trim_matches(is_space));
                Ok(json!({ "contexts": contexts, "continuation": continuation, "gold": gold }))
            }
        }
    }
}

/// Python's `str.capitalize`, but for digraphs that are one character.
fn capitalized(text: &str) -> String {
    let Some(first) = text.chars().next() else { return String::new() };
    let mut upper = first.to_uppercase();
    let title = upper.next().into_iter().chain(upper.flat_map(char::to_lowercase));
    // In lower case as a whole: a last sigma has another form.
    let behind = first.to_lowercase().map(char::len_utf8).sum();
    title.chain(text.to_lowercase()[behind..].chars()).collect()
}

/// A text without the marks in brackets of HellaSwag's part from WikiHow.
fn without_marks(text: &str) -> String {
    let text = text.trim_matches(is_space).replace(" [title]", ". ");
    let (mut out, mut rest) = (String::with_capacity(text.len()), text.as_str());
    // As the regular expression \[.*?\] finds them, whose dot is no line's end.
    while let Some(open) = rest.find('[') {
        let (before, inside) = rest.split_at(open);
        out.push_str(before);
        match inside.find([']', '\n']) {
            Some(end) if inside[end..].starts_with(']') => rest = &inside[end + 1..],
            _ => {
                out.push('[');
                rest = &inside[1..];
            }
        }
    }
    out.push_str(rest);
    out.replace("  ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(process: Process, row: Value) -> Result<Value, String> {
        process.shaped(row.as_object().unwrap()).unwrap()
    }

    /// Queries and choices from `lm_eval.tasks.hellaswag.utils.process_docs` of 0.4.13.
    #[test]
    fn hellaswag_is_put_together_and_loses_its_marks() {
        let row = json!({ "activity_label": "Bakery", "ctx_a": "[header] How to bake [title] Knead the dough. [step] Slowly.",
            "ctx_b": "éVA [substeps] waits", "endings": ["[step] She  waits.", " goes [a] home "], "label": "1" });
        assert_eq!(
            shaped(Process::Hellaswag, row).unwrap(),
            json!({ "context": "Bakery: How to bake. Knead the dough. Slowly. Éva waits",
                "choices": ["  She waits.", " goes home"], "gold": "1" })
        );
        let empty = json!({ "activity_label": "A", "ctx_a": "B.", "ctx_b": "", "endings": ["c"], "label": "0" });
        assert_eq!(shaped(Process::Hellaswag, empty).unwrap()["context"], "A: B.");
        assert_eq!(without_marks("a [b\nc] d [e [f] g]"), "a [b\nc] d g]");
        assert_eq!(without_marks("[[a]] [open"), "] [open");
        for (text, expected) in [("iNNER Word", "Inner word"), ("", ""), ("ßA", "Ssa"), ("ΑΣ", "Ας"), ("é", "É")]
        {
            assert_eq!(capitalized(text), expected);
        }
    }

    #[test]
    fn the_last_word_of_lambada_is_asked() {
        let of = |text: &str| shaped(Process::Lambada, json!({ "text": text })).unwrap();
        assert_eq!(of("He said  no\nto Eva"), json!({ "context": "He said  no\nto", "completion": " Eva" }));
        assert_eq!(of("one"), json!({ "context": "", "completion": " one" }));
    }

    #[test]
    fn the_other_rows_have_their_shapes() {
        let row = json!({ "support": " \nIce floats. ", "question": "Why?", "distractor1": "a", "distractor2": "b",
            "distractor3": "c", "correct_answer": "d" });
        assert_eq!(
            shaped(Process::Sciq, row).unwrap(),
            json!({ "context": "Ice floats. \nQuestion: Why?\nAnswer:", "choices": [" a", " b", " c", " d"], "gold": 3 })
        );
        let row = json!({ "sentence": "Ann told Bea that _ had a _ hat. ", "option1": "Ann", "option2": "Bea", "answer": "2" });
        assert_eq!(
            shaped(Process::Winogrande, row).unwrap(),
            json!({ "contexts": ["Ann told Bea that Ann", "Ann told Bea that Bea"], "continuation": " had a _ hat.", "gold": 1 })
        );
    }

    #[test]
    fn what_does_not_fit_is_said_and_other_records_are_left() {
        let row = |sentence: Value, answer: &str| json!({ "sentence": sentence, "option1": "a", "option2": "b", "answer": answer });
        for (row, reason) in [
            (row(json!("no blank"), "1"), "sentence has no blank _"),
            (row(json!("a _"), ""), "answer = \"\": must be"),
            (row(json!(3), "1"), "sentence must be a string"),
        ] {
            let error = shaped(Process::Winogrande, row.clone()).unwrap_err();
            assert!(error.contains(reason), "{row}: {error}");
        }
        let other = json!({ "contexts": ["a"], "continuation": " b", "gold": 0 });
        assert!(Process::Winogrande.shaped(other.as_object().unwrap()).is_none());
    }
}
