use serde::{Deserialize, Serialize};

/// What a program was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// This crate.
    pub contextlm: String,
    /// burn.
    pub burn: String,
    /// The compiler.
    pub rustc: String,
    /// The commit that this crate and those below it were built from, with `+changes` where their sources were not those of
    /// the commit (a later commit of the same sources does not show); `None` where it was built from something else than a clone or a published package.
    pub commit: Option<String>,
    /// Operating system and processor, as in `linux x86_64`.
    pub platform: String,
}

/// The workspace pins it to this.
const BURN: &str = "0.22.1";

impl Versions {
    /// Those of this program.
    pub fn current() -> Self {
        let commit = env!("CONTEXTLM_COMMIT");
        Self {
            contextlm: env!("CARGO_PKG_VERSION").into(),
            burn: BURN.into(),
            rustc: env!("CONTEXTLM_RUSTC").into(),
            commit: (!commit.is_empty()).then(|| commit.into()),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burn_is_what_the_workspace_pins() {
        let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&manifest).unwrap();
        assert_eq!(manifest["workspace"]["dependencies"]["burn"]["version"].as_str(), Some(&*format!("={BURN}")));
    }

    #[test]
    fn compiler_and_commit_are_known() {
        let versions = Versions::current();
        assert!(versions.rustc.starts_with("rustc 1."), "{versions:?}");
        if let Some(commit) = versions.commit {
            let hash = commit.trim_end_matches("+changes");
            assert!(hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit}");
        }
    }
}
