use std::fmt;
use std::str::FromStr;

/// A model or a data set of the hub: `org/name`, or `org/name@revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubName {
    /// `org/name`.
    pub id: String,
    /// Branch, tag or commit.
    pub revision: String,
}

/// What is wrong with a name that is none of the hub's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the hub has is called org/name or org/name@revision, in letters, digits, '-', '_' and '.'")]
pub struct HubNameError;

impl FromStr for HubName {
    type Err = HubNameError;

    fn from_str(text: &str) -> Result<Self, HubNameError> {
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (org, name) = id.split_once('/').ok_or(HubNameError)?;
        // A revision may be a path of several parts, such as refs/pr/1.
        let fits = is_word(org) && is_word(name) && is_path(revision);
        fits.then(|| Self { id: id.into(), revision: revision.into() }).ok_or(HubNameError)
    }
}

impl HubName {
    /// The same at one of its commits.
    pub(super) fn at(&self, commit: &str) -> Self {
        Self { id: self.id.clone(), revision: commit.into() }
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.revision)
    }
}

/// Whether this can be part of a path, and leads nowhere but down.
pub(super) fn is_word(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 200 && text.chars().all(known) && !text.starts_with('.') && !text.contains("..")
}

/// The same of a whole path, of several such parts.
pub(super) fn is_path(text: &str) -> bool {
    text.split('/').all(is_word)
}

/// Whether this names a commit, which never changes.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let model: HubName = "EleutherAI/pythia-70m".parse().unwrap();
        assert_eq!(model.to_string(), "EleutherAI/pythia-70m@main");
        let model: HubName = "a/b.c@refs/pr/1".parse().unwrap();
        assert_eq!((&*model.id, &*model.revision), ("a/b.c", "refs/pr/1"));
    }

    #[test]
    fn what_could_lead_elsewhere_is_none() {
        for text in
            ["", "gpt2", "/a", "a/", "a/b/c", "../a", "a/..", "a/b@", "a/b@../x", "a/b@c//d", "a/b c", "a\\b/c", "~/a"]
        {
            assert_eq!(text.parse::<HubName>(), Err(HubNameError), "{text}");
        }
    }

    #[test]
    fn a_commit_is_told_from_a_branch() {
        assert!(is_commit("0123456789abcdef0123456789ABCDEF01234567"));
        assert!(!is_commit("main") && !is_commit(&"g".repeat(40)) && !is_commit(&"a".repeat(41)));
    }
}
