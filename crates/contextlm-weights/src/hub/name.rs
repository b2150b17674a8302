use std::fmt;
use std::str::FromStr;

/// A model of the hub: `org/name`, or `org/name@revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubModel {
    /// `org/name`.
    pub id: String,
    /// Branch, tag or commit.
    pub revision: String,
}

/// What is wrong with a name that is none of the hub's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a model of the hub is called org/name or org/name@revision, in letters, digits, '-', '_' and '.'")]
pub struct HubNameError;

impl FromStr for HubModel {
    type Err = HubNameError;

    fn from_str(text: &str) -> Result<Self, HubNameError> {
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (org, name) = id.split_once('/').ok_or(HubNameError)?;
        // A revision may be a path of several parts, such as refs/pr/1.
        let fits = [org, name].into_iter().chain(revision.split('/')).all(is_word);
        fits.then(|| Self { id: id.into(), revision: revision.into() }).ok_or(HubNameError)
    }
}

impl fmt::Display for HubModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.revision)
    }
}

/// Whether this can be part of a path, and leads nowhere but down.
pub(super) fn is_word(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 200 && text.chars().all(known) && !text.starts_with('.') && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let model: HubModel = "EleutherAI/pythia-70m".parse().unwrap();
        assert_eq!(model.to_string(), "EleutherAI/pythia-70m@main");
        let model: HubModel = "a/b.c@refs/pr/1".parse().unwrap();
        assert_eq!((&*model.id, &*model.revision), ("a/b.c", "refs/pr/1"));
    }

    #[test]
    fn what_could_lead_elsewhere_is_none() {
        for text in
            ["", "gpt2", "/a", "a/", "a/b/c", "../a", "a/..", "a/b@", "a/b@../x", "a/b@c//d", "a/b c", "a\\b/c", "~/a"]
        {
            assert_eq!(text.parse::<HubModel>(), Err(HubNameError), "{text}");
        }
    }
}
