use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::EvalError;
use crate::score::{Likelihood, Request};

/// Likelihoods that were computed already, in a file of JSON lines, so that a run that was ended goes on.
///
/// A line is kept under a digest of everything that it depends on: this crate's version, the model's files, what the
/// caller adds (its dtype and device), and of every request the inputs that the window leaves and the tokens that are
/// scored.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
    file: BufWriter<File>,
    known: HashMap<String, Vec<Likelihood>>,
    model: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    /// As text, which gives the same number again.
    log_likelihoods: Vec<String>,
    greedy: Vec<bool>,
}

impl Cache {
    /// Opens a cache for a model directory, or begins one. A last line that was cut off is dropped.
    ///
    /// # Errors
    /// [`EvalError::File`], [`EvalError::Cache`] for a broken line elsewhere.
    pub fn open(path: &Path, model_dir: &Path, settings: &str) -> Result<Self, EvalError> {
        let model = digest_of_model(model_dir, settings)?;
        let mut text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(EvalError::io(path)(error)),
        };
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        text.truncate(whole);
        let mut known = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let (key, likelihoods) =
                parse(line).map_err(|reason| EvalError::Cache { path: path.into(), line: number + 1, reason })?;
            known.insert(key, likelihoods);
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(EvalError::io(path))?;
        file.set_len(whole as u64).map_err(EvalError::io(path))?;
        Ok(Self { path: path.into(), file: BufWriter::new(file), known, model })
    }

    /// Groups of requests that are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(crate) fn get(&self, group: &[Request], window: usize) -> Option<Vec<Likelihood>> {
        self.known.get(&self.key(group, window)).filter(|found| found.len() == group.len()).cloned()
    }

    pub(crate) fn put(
        &mut self,
        group: &[Request],
        window: usize,
        likelihoods: &[Likelihood],
    ) -> Result<(), EvalError> {
        let line = Line {
            key: self.key(group, window),
            log_likelihoods: likelihoods.iter().map(|found| found.log_likelihood.to_string()).collect(),
            greedy: likelihoods.iter().map(|found| found.greedy).collect(),
        };
        let text = serde_json::to_string(&line).map_err(|error| EvalError::io(&self.path)(error.into()))?;
        writeln!(self.file, "{text}").map_err(EvalError::io(&self.path))?;
        self.known.insert(line.key, likelihoods.to_vec());
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), EvalError> {
        self.file.flush().map_err(EvalError::io(&self.path))
    }

    fn key(&self, group: &[Request], window: usize) -> String {
        let mut digest = Sha256::new();
        digest.update(self.model);
        for request in group {
            for tokens in [&request.inputs(window), &request.continuation] {
                digest.update((tokens.len() as u64).to_le_bytes());
                tokens.iter().for_each(|token| digest.update(token.to_le_bytes()));
            }
        }
        digest.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn parse(line: &str) -> Result<(String, Vec<Likelihood>), String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if line.greedy.len() != line.log_likelihoods.len() {
        return Err("log_likelihoods and greedy have different lengths".into());
    }
    let likelihood = |(text, &greedy): (&String, &bool)| match text.parse() {
        Ok(log_likelihood) => Ok(Likelihood { log_likelihood, greedy }),
        Err(_) => Err(format!("{text:?} is no number")),
    };
    let likelihoods = line.log_likelihoods.iter().zip(&line.greedy).map(likelihood).collect::<Result<_, _>>()?;
    Ok((line.key, likelihoods))
}

/// Of config.json and the weights, by their names and content, and of the settings.
fn digest_of_model(dir: &Path, settings: &str) -> Result<[u8; 32], EvalError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(EvalError::io(dir))? {
        let path = entry.map_err(EvalError::io(dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == "config.json" || name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut digest = Sha256::new();
    for part in [env!("CARGO_PKG_VERSION"), settings] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let mut buffer = vec![0; 1 << 20];
    for path in paths {
        digest.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        let mut file = File::open(&path).map_err(EvalError::io(&path))?;
        loop {
            match file.read(&mut buffer).map_err(EvalError::io(&path))? {
                0 => break,
                read => digest.update(&buffer[..read]),
            }
        }
    }
    Ok(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(content: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), "{}").unwrap();
        fs::write(dir.path().join("model.safetensors"), content).unwrap();
        dir
    }

    #[test]
    fn what_was_put_is_there_again_for_the_same_model_only() {
        let (dir, other) = (model("a"), model("b"));
        let path = dir.path().join("cache.jsonl");
        let request = |token| vec![Request { context: vec![1], continuation: vec![token, 3] }];
        let found = vec![Likelihood { log_likelihood: -0.1 - 0.2, greedy: true }];
        let mut cache = Cache::open(&path, dir.path(), "f32").unwrap();
        cache.put(&request(2), 8, &found).unwrap();
        cache.flush().unwrap();
        let open = |dir: &tempfile::TempDir, settings| Cache::open(&path, dir.path(), settings).unwrap();
        assert_eq!(open(&dir, "f32").get(&request(2), 8), Some(found));
        assert_eq!(open(&dir, "f32").get(&request(4), 8), None);
        assert_eq!(open(&dir, "bf16").get(&request(2), 8), None);
        assert_eq!(open(&other, "f32").get(&request(2), 8), None);
        // The same tokens cut elsewhere are another request.
        assert_eq!(open(&dir, "f32").get(&[Request { context: vec![1, 2], continuation: vec![3] }], 8), None);
    }

    /// What a window leaves of a request is what was run; another window that leaves as much finds it again.
    #[test]
    fn what_another_window_cuts_is_another_request() {
        let dir = model("a");
        let mut cache = Cache::open(&dir.path().join("cache.jsonl"), dir.path(), "").unwrap();
        let long = [Request { context: vec![1, 2, 3, 4], continuation: vec![5] }];
        let found = vec![Likelihood { log_likelihood: -1.0, greedy: false }];
        cache.put(&long, 2, &found).unwrap();
        assert_eq!(cache.get(&long, 2), Some(found.clone()));
        assert_eq!((cache.get(&long, 3), cache.get(&long, 8)), (None, None));
        cache.put(&long, 4, &found).unwrap();
        assert_eq!(cache.get(&long, 8), Some(found));
    }

    #[test]
    fn a_line_cut_off_is_dropped_and_a_broken_one_named() {
        let dir = model("a");
        let path = dir.path().join("cache.jsonl");
        let group = vec![Request { context: vec![1], continuation: vec![2] }];
        let mut cache = Cache::open(&path, dir.path(), "").unwrap();
        cache.put(&group, 8, &[Likelihood { log_likelihood: -1.0, greedy: false }]).unwrap();
        cache.flush().unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}{}", &whole[..20])).unwrap();
        assert_eq!(Cache::open(&path, dir.path(), "").unwrap().len(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        fs::write(&path, format!("{}\n{whole}", &whole[..20])).unwrap();
        let error = Cache::open(&path, dir.path(), "").unwrap_err().to_string();
        assert!(error.contains("cache.jsonl, line 1: ") && error.contains("delete the file"), "{error}");
    }
}
