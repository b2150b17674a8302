//! Where CubeCL keeps the kernels that it has compiled and tuned.
//!
//! CubeCL compiles a kernel when it first runs, and tries several to find the fastest. What it found is kept by default,
//! the compiled kernels themselves are not, so that every process would compile all of them again.

use std::path::Path;
use std::sync::Once;

use burn::cubecl::config::autotune::AutotuneLevel;
use burn::cubecl::config::cache::CacheConfig;
use burn::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

/// Settles CubeCL's settings, once, before the first device is opened.
///
/// Compiled kernels are kept, in the user's cache directory (`~/.cache/cubecl` on Linux), and the level of tuning is the least:
/// on an H100 steps were as fast as with the next one, and the first came a sixth sooner. A `cubecl.toml` or `burn.toml` in
/// the current directory or above it is taken as it is instead, and CubeCL's environment variables go before both. What a
/// program has set by itself stays.
pub(crate) fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let here = std::env::current_dir().ok();
        CubeClRuntimeConfig::try_set(settings(here.as_deref()).override_from_env());
    });
}

/// The settings for a program that is started in a directory.
fn settings(directory: Option<&Path>) -> CubeClRuntimeConfig {
    if directory.is_some_and(has_file) {
        return CubeClRuntimeConfig::from_current_dir();
    }
    let mut settings = CubeClRuntimeConfig::default();
    settings.compilation.cache = true;
    settings.autotune.level = AutotuneLevel::Minimal;
    settings.environment.path = CacheConfig::Global;
    settings
}

/// Whether a directory or one above it has a file with CubeCL's settings.
fn has_file(directory: &Path) -> bool {
    let whole = CubeClRuntimeConfig::file_names().iter();
    let sections = CubeClRuntimeConfig::section_file_names().iter().map(|(file, _)| file);
    let mut names = whole.chain(sections);
    names.any(|name| directory.ancestors().any(|above| above.join(name).is_file()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn compiled_kernels_are_kept_unless_a_file_decides() {
        let directory = std::env::temp_dir().join(format!("contextlm-kernels-{}", std::process::id()));
        let below = directory.join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let found = settings(Some(&below));
        assert!(found.compilation.cache && matches!(found.environment.path, CacheConfig::Global));

        std::fs::write(directory.join("cubecl.toml"), "").unwrap();
        assert!(has_file(&below));
        assert!(!settings(Some(&below)).compilation.cache);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
