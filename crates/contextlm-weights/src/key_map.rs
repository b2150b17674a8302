use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contextlm_core::files::read_file;
use regex::Regex;

use crate::WeightsError;

/// Maps are a few dozen lines.
const MAX_MAP: u64 = 1_000_000;

/// Names of tensors in files that other programs wrote, and what they are called here.
///
/// A line is a regular expression that matches a whole name, white space, and the name that takes its place, in which `$1`,
/// `${1}` or `${group}` stand for what was matched. The first line that matches counts; a name that none matches stays as
/// it is. Empty lines, and lines that begin with `#`, say nothing.
///
/// ```text
/// # the authors' names -> ours
/// model\.blocks\.(\d+)\.(.*)   transformer.h.$1.$2
/// model\.ctx_init              context.initial
/// ```
#[derive(Debug, Clone)]
pub struct KeyMap {
    path: PathBuf,
    rules: Vec<(Regex, String)>,
}

impl KeyMap {
    /// Reads a map.
    ///
    /// # Errors
    /// [`WeightsError::File`] naming the file and the line.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let bytes = read_file(path, MAX_MAP).map_err(WeightsError::io(path))?;
        let text = String::from_utf8(bytes).map_err(|error| WeightsError::file(path, error))?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, WeightsError> {
        let mut rules = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let wrong = |reason: String| WeightsError::file(path, format!("line {}: {reason}", number + 1));
            let mut words = line.split_whitespace();
            let (pattern, name) = match (words.next(), words.next(), words.next()) {
                (None, ..) => continue,
                (Some(first), ..) if first.starts_with('#') => continue,
                (Some(pattern), Some(name), None) => (pattern, name),
                _ => return Err(wrong("must be a regular expression, white space and a name".into())),
            };
            let regex = Regex::new(&format!("^(?:{pattern})$"))
                .map_err(|error| wrong(format!("{pattern}: no regular expression: {error}")))?;
            rules.push((regex, name.to_string()));
        }
        Ok(Self { path: path.into(), rules })
    }

    /// What a stored name is called here.
    fn apply(&self, name: &str) -> String {
        let rule = self.rules.iter().find(|(regex, _)| regex.is_match(name));
        rule.map_or(name.into(), |(regex, to)| regex.replace(name, to).into_owned())
    }

    /// Renames all tensors.
    ///
    /// # Errors
    /// [`WeightsError::File`] if two get the same name.
    pub(crate) fn rename<T>(&self, tensors: BTreeMap<String, T>) -> Result<BTreeMap<String, T>, WeightsError> {
        let (mut renamed, mut from) = (BTreeMap::new(), BTreeMap::<String, String>::new());
        for (name, tensor) in tensors {
            let to = self.apply(&name);
            if let Some(other) = from.insert(to.clone(), name.clone()) {
                let reason = format!(
                    "both {} and {} would be called {}; make the expressions narrower",
                    other.escape_debug(),
                    name.escape_debug(),
                    to.escape_debug()
                );
                return Err(WeightsError::file(&self.path, reason));
            }
            renamed.insert(to, tensor);
        }
        Ok(renamed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<KeyMap, String> {
        KeyMap::parse(text, Path::new("keys.txt")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_line_that_matches_a_whole_name_counts() {
        let map = parse("# names\n\nblocks\\.(\\d+)\\.w  h.$1.weight\nblocks.*\t x\nh  y").unwrap();
        for (name, expected) in [("blocks.12.w", "h.12.weight"), ("blocks.1.b", "x"), ("h", "y"), ("hh", "hh")] {
            assert_eq!(map.apply(name), expected);
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, message) in [
            ("a b\nc", "keys.txt: line 2: must be"),
            ("a b c", "line 1: must be"),
            ("\n( b", "line 2: (: no regular expression"),
        ] {
            assert!(parse(text).unwrap_err().contains(message), "{text}");
        }
        // One that would take gigabytes is refused too.
        assert!(parse("(((a{1000}){1000}){1000}){1000} b").unwrap_err().contains("no regular expression"));
    }

    #[test]
    fn two_tensors_do_not_get_one_name() {
        let tensors = BTreeMap::from([("a.1".to_string(), 1), ("a.2".to_string(), 2)]);
        let error = parse(r"a\..*  b").unwrap().rename(tensors.clone()).unwrap_err().to_string();
        assert!(error.contains("keys.txt: both a.1 and a.2 would be called b"), "{error}");
        let swapped = parse("a.1 a.2\na.2 a.1").unwrap().rename(tensors).unwrap();
        assert_eq!(swapped, BTreeMap::from([("a.2".to_string(), 1), ("a.1".to_string(), 2)]));
    }
}
