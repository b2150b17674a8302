//! What the fuzz targets and the test that replays their corpora do: a small model directory of which one file has
//! arbitrary bytes. It is read, or refused; nothing else may happen.

use std::fs;
use std::path::{Path, PathBuf};

use contextlm_core::Backbone;
use contextlm_weights::{load, read_config};

thread_local! {
    /// The directories, made once.
    pub static CASES: Cases = Cases::new();
}

/// A config of a model of 44 parameters.
const CONFIG: &str = r#"{"model_type": "gpt2", "vocab_size": 3, "n_positions": 2, "n_embd": 2, "n_layer": 1, "n_head": 1, "n_inner": 2}"#;

pub struct Cases {
    folder: tempfile::TempDir,
}

impl Cases {
    fn new() -> Self {
        let cases = Self { folder: tempfile::tempdir().expect("a folder for temporary files") };
        for name in ["config", "index", "loader"] {
            fs::create_dir(cases.dir(name)).expect("a folder");
            cases.write(name, "config.json", CONFIG.as_bytes());
        }
        let seed = Path::new(env!("CARGO_MANIFEST_DIR"));
        let seed = if seed.ends_with("fuzz") { seed.to_path_buf() } else { seed.join("fuzz") };
        let weights = fs::read(seed.join("corpus/loader/whole")).expect("the corpus");
        cases.write("config", "model.safetensors", &weights);
        cases.write("index", "a.safetensors", &weights);
        cases.write("index", "b.safetensors", b"\x02\0\0\0\0\0\0\0{}");
        cases
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, file: &str, bytes: &[u8]) {
        fs::write(self.dir(name).join(file), bytes).expect("room for a file");
    }

    /// Whether `config.json` with these bytes is accepted.
    pub fn config(&self, bytes: &[u8]) -> bool {
        self.write("config", "config.json", bytes);
        self.inspect("config");
        self.loads("config")
    }

    /// Whether `model.safetensors.index.json` with these bytes is accepted.
    pub fn index(&self, bytes: &[u8]) -> bool {
        self.write("index", "model.safetensors.index.json", bytes);
        self.loads("index")
    }

    /// Whether `model.safetensors` with these bytes is accepted.
    pub fn loader(&self, bytes: &[u8]) -> bool {
        self.write("loader", "model.safetensors", bytes);
        self.loads("loader")
    }

    /// Counts, as `contextlm inspect` does.
    fn inspect(&self, name: &str) {
        let Ok(config) = read_config(self.dir(name)) else { return };
        let device = contextlm_device::device("cpu").expect("the CPU");
        let model = config.init(&device).expect("a config that was checked");
        let (parameters, positions) = (model.parameters(), model.backbone.spec().max_positions);
        let flops = model.flops_per_token(positions).expect("a backbone of ours");
        assert!(parameters.total <= 1 << 53 && flops.total <= 1 << 53);
    }

    fn loads(&self, name: &str) -> bool {
        let device = contextlm_device::device("cpu").expect("the CPU");
        load(self.dir(name), &device).is_ok()
    }
}
