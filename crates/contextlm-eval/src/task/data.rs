use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use contextlm_data::{read_records, read_text};
use serde_json::{Map, Value};

use super::{Located, Origin, Place, Question, Task, wikitext};
use crate::EvalError;

/// A row of the data and its line, from 1.
type Row = (u64, Map<String, Value>);

/// The examples of a task that are asked.
#[derive(Debug, Clone)]
pub struct TaskData {
    /// What they come from.
    pub origin: Origin,
    /// The examples, with solved ones before each if shots are asked for.
    pub questions: Vec<Question>,
    /// Examples of the files.
    pub original: usize,
    /// Examples of every group in them, where there are groups.
    pub original_groups: HashMap<String, usize>,
    /// Solved examples before each.
    pub shots: usize,
}

impl TaskData {
    /// Reads the examples of a task from the folder with its file, or with a folder with it, or from another [`Place`]. At
    /// most the first `limit` examples are asked, of each group where there are groups. `shots`: other than the task's own
    /// number.
    ///
    /// # Errors
    /// [`EvalError::NoTaskData`], [`EvalError::Hub`], [`EvalError::Data`], [`EvalError::File`], [`EvalError::Example`] with file
    /// and line, [`EvalError::Setting`] for more shots than can be had.
    pub fn read(
        task: &Task,
        place: impl Into<Place>,
        limit: Option<usize>,
        shots: Option<usize>,
    ) -> Result<Self, EvalError> {
        Self::read_located(task, &place.into().locate(task)?, limit, shots)
    }

    /// The same, of files that were found already.
    ///
    /// # Errors
    /// The same.
    pub fn read_located(
        task: &Task,
        located: &Located,
        limit: Option<usize>,
        shots: Option<usize>,
    ) -> Result<Self, EvalError> {
        let shots = shots.unwrap_or(task.shots);
        if shots > 0 && !task.takes_shots() {
            return Err(EvalError::setting("shots", shots, format!("{} takes none", task.name)));
        }
        if limit == Some(0) {
            return Err(EvalError::setting("limit", 0, "must be at least 1"));
        }
        let all = questions(task, &located.paths)?;
        let others = match shots > 0 && !task.shots_files.is_empty() {
            true => Some(questions(task, &[located.place.find_file(task, &task.shots_files)?])?),
            false => None,
        };
        let pool = others.as_ref().unwrap_or(&all);
        let available = pool.len() - usize::from(others.is_none());
        if shots > available {
            return Err(EvalError::setting("shots", shots, format!("{} has {available} to show", task.name)));
        }
        let mut counts: HashMap<Option<&str>, usize> = HashMap::new();
        let mut asked = Vec::new();
        for (number, question) in all.iter().enumerate() {
            let count = counts.entry(question.group.as_deref()).or_default();
            *count += 1;
            if limit.is_some_and(|limit| *count > limit) {
                continue;
            }
            let mut question = question.clone();
            if shots > 0 {
                let others = pool.iter().enumerate().filter(|(other, _)| others.is_some() || *other != number);
                let solved = |(_, other): (usize, &Question)| other.solved() + &task.shots_delimiter;
                question.put_before(&others.take(shots).map(solved).collect::<String>());
            }
            asked.push(question);
        }
        let original_groups =
            counts.into_iter().filter_map(|(group, count)| Some((group?.to_owned(), count))).collect();
        Ok(Self { origin: located.origin.clone(), questions: asked, original: all.len(), original_groups, shots })
    }
}

fn questions(task: &Task, paths: &[PathBuf]) -> Result<Vec<Question>, EvalError> {
    let mut all = Vec::new();
    for path in paths {
        let path: Arc<Path> = path.as_path().into();
        let question = |(line, record): Row| {
            Question::new(task, path.clone(), line, &record).map_err(|reason| EvalError::example(&path, line, reason))
        };
        let before = all.len();
        match is_raw(&path) {
            true => all.extend(pages(&path)?.into_iter().map(question).collect::<Result<Vec<_>, _>>()?),
            false => all.extend(read_records(&path)?.map(|row| question(row?)).collect::<Result<Vec<_>, _>>()?),
        }
        if all.len() == before {
            return Err(EvalError::example(&path, 1, "there is no example in it"));
        }
    }
    check_groups(&all)?;
    Ok(all)
}

/// Results are means over groups: an example without one would be in none of them.
fn check_groups(questions: &[Question]) -> Result<(), EvalError> {
    let with = questions.iter().find(|question| question.group.is_some());
    let without = questions.iter().find(|question| question.group.is_none());
    match (with, without) {
        (Some(with), Some(without)) => {
            let reason = format!("no group, but line {} has one: give every example a group, or none", with.line);
            Err(EvalError::example(&without.path, without.line, reason))
        }
        _ => Ok(()),
    }
}

/// Whether a file is a raw one of WikiText, compressed or not.
fn is_raw(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    [".raw", ".raw.zst", ".raw.gz"].iter().any(|ending| name.ends_with(ending))
}

/// The pages of a raw file of WikiText as records.
fn pages(path: &Path) -> Result<Vec<Row>, EvalError> {
    let text = read_text(path)?;
    let record = |(line, page): (u64, String)| (line, Map::from_iter([("page".to_owned(), page.into())]));
    Ok(wikitext::pages(&text).into_iter().map(record).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::task::Asked;

    fn task(rest: &str) -> Task {
        let text = format!(
            "name = \"t\"\nversion = 1\nabout = \"a\"\nfiles = [\"t.jsonl\", \"t.raw\"]\nshape = \"completion\"\nmetrics = [\"acc\"]\n{rest}"
        );
        Task::parse(&text, Path::new("t.toml")).unwrap()
    }

    fn folder(lines: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inside")).unwrap();
        fs::write(folder.path().join("inside/t.jsonl"), lines.join("\n")).unwrap();
        folder
    }

    /// " = One = \n text \n = Two = \n text \n", compressed.
    const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03S\xb0U\xf0\xcfKU\xb0U\xe0R(I\xad(\x01R\xb6\x0a!\xe5\xf9H\x02\x00Q\xa7\x1c\x9c\x22\x00\x00\x00";
    const ZSTD: &[u8] = b"(\xb5/\xfd \x22\x11\x01\x00 = One = \x0a text \x0a = Two = \x0a text \x0a";

    const LINES: [&str; 3] = [
        r#"{"context": "a", "completion": " 1", "group": "x"}"#,
        r#"{"context": "b", "completion": " 2", "group": "y"}"#,
        r#"{"context": "c", "completion": " 3", "group": "x"}"#,
    ];

    fn contexts(data: &TaskData) -> Vec<&str> {
        data.questions
            .iter()
            .map(|question| match &question.asked {
                Asked::Completion { context, .. } => context.as_str(),
                _ => unreachable!(),
            })
            .collect()
    }

    #[test]
    fn the_first_examples_of_every_group_are_asked() {
        let folder = folder(&LINES);
        let read = |limit| TaskData::read(&task(""), folder.path(), limit, None).unwrap();
        assert_eq!(contexts(&read(None)), ["a", "b", "c"]);
        assert_eq!((contexts(&read(Some(1))), read(Some(1)).original), (vec!["a", "b"], 3));
        assert_eq!(read(Some(1)).original_groups, HashMap::from([("x".into(), 2), ("y".into(), 1)]));
    }

    #[test]
    fn shots_are_the_first_other_examples_or_those_of_their_file() {
        let folder = folder(&LINES);
        let read = |task: &Task, shots| TaskData::read(task, folder.path(), None, Some(shots)).unwrap();
        assert_eq!(contexts(&read(&task(""), 1)), ["b 2\n\na", "a 1\n\nb", "a 1\n\nc"]);
        let other = task("shots_files = [\"train.jsonl\"]\nshots_delimiter = \"|\"\n");
        fs::write(folder.path().join("train.jsonl"), LINES[..2].join("\n")).unwrap();
        assert_eq!(contexts(&read(&other, 2)), ["a 1|b 2|a", "a 1|b 2|b", "a 1|b 2|c"]);
        let none = TaskData::read(&other, folder.path(), Some(0), None).unwrap_err().to_string();
        assert!(none.contains("limit = 0: must be at least 1"), "{none}");
        for (task, shots) in [(task(""), 3), (other, 3)] {
            let error = TaskData::read(&task, folder.path(), None, Some(shots)).unwrap_err().to_string();
            assert!(error.contains("shots = 3: t has 2 to show"), "{error}");
        }
    }

    #[test]
    fn raw_files_are_read_compressed_or_not_and_must_be_utf8() {
        let folder = tempfile::tempdir().unwrap();
        let text = "name = \"w\"\nversion = 1\nabout = \"a\"\nfiles = [\"w.raw\"]\nshape = \"text\"\nmetrics = [\"bits_per_byte\"]\n[prompt]\ntext = \"{page}\"\n";
        let task = Task::parse(text, Path::new("w.toml")).unwrap();
        let read = || TaskData::read(&task, folder.path(), None, None);
        let pages = b" = One = \n text \n = Two = \n text \n";
        for (name, bytes) in [("w.raw.gz", GZIP), ("w.raw.zst", ZSTD), ("w.raw", &pages[..])] {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            assert_eq!(read().unwrap().questions.len(), 2, "{name}");
            fs::remove_file(path).unwrap();
        }
        fs::write(folder.path().join("w.raw"), b" = One = \n \xff \n").unwrap();
        let error = read().unwrap_err().to_string();
        assert!(error.contains("w.raw, line 2: not UTF-8"), "{error}");
    }

    #[test]
    fn what_is_missing_or_broken_is_named_with_its_line() {
        let error =
            |lines: &[&str]| TaskData::read(&task(""), folder(lines).path(), None, None).unwrap_err().to_string();
        let empty = tempfile::tempdir().unwrap();
        let missing = TaskData::read(&task(""), empty.path(), None, None).unwrap_err().to_string();
        assert!(missing.contains("no data of the task t; put t.jsonl or t.raw there"), "{missing}");
        assert!(matches!(
            TaskData::read(&task(""), empty.path().join("none"), None, None),
            Err(EvalError::File { .. })
        ));
        let broken = error(&[LINES[0], "", "{\"context\": \"a\""]);
        assert!(broken.contains("t.jsonl, line 3: not a JSON object"), "{broken}");
        let wrong = error(&[LINES[0], "{\"context\": \"a\"}"]);
        assert!(wrong.contains("t.jsonl, line 2: no key \"completion\""), "{wrong}");
        assert!(error(&[]).contains("the file is empty"));
        // Without a folder, and without the hub, there is nowhere to look.
        let nowhere = TaskData::read(&task(""), Place::default(), None, None).unwrap_err().to_string();
        assert!(
            nowhere.contains("no folder was given for the data of the task t; give one with t.jsonl or t.raw"),
            "{nowhere}"
        );
        let group = error(&[LINES[0], LINES[1], r#"{"context": "c", "completion": " 3"}"#]);
        assert!(group.contains("t.jsonl, line 3: no group, but line 1 has one"), "{group}");
    }
}
