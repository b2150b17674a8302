use std::path::Path;

use super::Task;
use crate::EvalError;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../tasks/", $name, ".toml")))),*]
    };
}

const FILES: [(&str, &str); 11] = files![
    "arc_challenge",
    "arc_easy",
    "blimp",
    "boolq",
    "hellaswag",
    "lambada_openai",
    "openbookqa",
    "piqa",
    "sciq",
    "wikitext",
    "winogrande",
];

/// The tasks that come with the crate.
///
/// # Errors
/// None; their files are tested.
pub fn builtin() -> Result<Vec<Task>, EvalError> {
    FILES.iter().map(|(name, text)| parse(name, text)).collect()
}

fn parse(name: &str, text: &str) -> Result<Task, EvalError> {
    Task::parse(text, Path::new(&format!("{name}.toml")))
}

impl Task {
    /// A task by its name, or by the path of its file, which ends in .toml.
    ///
    /// # Errors
    /// [`EvalError::UnknownTask`], [`EvalError::File`], [`EvalError::TaskFile`].
    pub fn find(name: &str) -> Result<Self, EvalError> {
        if let Some((name, text)) = FILES.iter().find(|(known, _)| *known == name) {
            return parse(name, text);
        }
        if name.ends_with(".toml") {
            return Self::from_file(Path::new(name));
        }
        let known = FILES.map(|(name, _)| name).join(", ");
        Err(EvalError::UnknownTask { name: name.into(), known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_found_by_its_name_and_says_what_it_is() {
        for (task, (name, _)) in builtin().unwrap().iter().zip(FILES) {
            assert_eq!((task.name.as_str(), Task::find(name).unwrap().name.as_str()), (name, name));
            assert!(task.about.len() > 20 && !task.files.is_empty(), "{name}");
            // Of a commit, so that the same numbers come out for ever.
            assert_eq!(task.hub.as_ref().unwrap().revision.len(), 40, "{name}");
        }
        let error = Task::find("hellaswagg").unwrap_err().to_string();
        assert!(error.contains("no task hellaswagg") && error.contains("hellaswag, "), "{error}");
        assert!(matches!(Task::find("none.toml"), Err(EvalError::File { .. })));
    }
}
