//! What is no file to read: folders, devices, pickles, links that lead elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use contextlm_core::ContextLmConfig;
use contextlm_weights::{load, read_config};
use serde_json::json;

use crate::common::{cpu, directory, tensors_of};
use crate::refused;

#[test]
fn what_is_not_a_file_is_not_opened() {
    let dir = directory("gpt2", &BTreeMap::new());
    let path = dir.path().join("model.safetensors");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused(dir.path(), "model.safetensors", &["not a file"]);
    fs::remove_dir(&path).unwrap();
    refused(dir.path(), "", &["neither model.safetensors nor model.safetensors.index.json"]);
    fs::write(dir.path().join("pytorch_model.bin"), "").unwrap();
    refused(dir.path(), "pytorch_model.bin", &["pickle"]);
    refused(&dir.path().join("nowhere"), "config.json", &[]);

    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap(); // would never end
        refused(dir.path(), "model.safetensors", &["not a file"]);
        fs::remove_file(dir.path().join("config.json")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("config.json")).unwrap();
        refused(dir.path(), "config.json", &["not a file"]);
    }
}

#[test]
fn pickles_are_refused_by_name() {
    for name in [
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "pytorch_model-00001-of-00002.bin",
        "consolidated.00.pth",
        "model.pt",
        "last.ckpt",
        "weights.pkl",
    ] {
        let dir = directory("gpt2", &tensors_of("gpt2"));
        fs::rename(dir.path().join("model.safetensors"), dir.path().join(name)).unwrap();
        refused(dir.path(), name, &["a pickle file can run any code"]);
        // Itself given as the model.
        refused(&dir.path().join(name), "", &["a pickle file can run any code"]);
    }
    refused(&directory("gpt2", &tensors_of("gpt2")).path().join("model.safetensors"), "", &["is a file; give the dir"]);
    let dir = directory("gpt2", &tensors_of("gpt2"));
    fs::rename(dir.path().join("model.safetensors"), dir.path().join("model-1.bin")).unwrap();
    let index = json!({ "weight_map": { "transformer.wte.weight": "model-1.bin" } });
    fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    refused(dir.path(), "model.safetensors.index.json", &["model-1.bin", "only .safetensors files"]);
}

/// A link may not lead out of the directory, except from a snapshot of the Hugging Face cache to its blobs.
#[cfg(unix)]
#[test]
fn links_out_of_the_directory() {
    use std::os::unix::fs::symlink;

    let source = directory("gpt2", &tensors_of("gpt2"));
    let file = source.path().join("model.safetensors");
    let folder = tempfile::tempdir().unwrap();
    let link = |dir: &Path, target: &Path| {
        fs::create_dir_all(dir).unwrap();
        fs::copy(source.path().join("config.json"), dir.join("config.json")).unwrap();
        symlink(target, dir.join("model.safetensors")).unwrap();
    };
    let out = folder.path().join("out");
    link(&out, &file);
    refused(&out, "model.safetensors", &["a link out of its directory"]);

    let inside = folder.path().join("inside");
    fs::create_dir_all(inside.join("data")).unwrap();
    fs::copy(&file, inside.join("data/weights")).unwrap();
    link(&inside, Path::new("data/weights"));
    assert!(load(&inside, &cpu()).is_ok());

    // As the hub's cache has it, and a snapshot that leads elsewhere.
    let repository = folder.path().join("models--org--name");
    fs::create_dir_all(repository.join("blobs")).unwrap();
    fs::copy(&file, repository.join("blobs/0123")).unwrap();
    let snapshot = repository.join("snapshots/abc");
    link(&snapshot, Path::new("../../blobs/0123"));
    assert!(load(&snapshot, &cpu()).is_ok());
    let other = repository.join("snapshots/def");
    link(&other, &file);
    refused(&other, "model.safetensors", &["a link out of its directory"]);
    let shards = folder.path().join("shards");
    link(&shards, Path::new("nowhere"));
    assert!(load(&shards, &cpu()).is_err());
}

/// Config and headers are all that is looked at for counting, and neither without an end.
#[test]
fn what_has_no_end_is_not_read() {
    let dir = directory("gpt2", &tensors_of("gpt2"));
    assert_eq!(read_config(dir.path()).unwrap().backbone.layers(), 2);
    let path = dir.path().join("config.json");
    let refused = |reason: &str| {
        for error in [read_config(dir.path()).unwrap_err(), load(dir.path(), &cpu()).map(|_| ()).unwrap_err()] {
            assert!(error.to_string().contains(&format!("config.json: {reason}")), "{error}");
        }
        assert!(ContextLmConfig::from_file(&path).unwrap_err().to_string().contains(reason));
    };
    fs::File::create(&path).unwrap().set_len(8 << 30).unwrap(); // nothing is on the disk of it
    refused("8589934592 bytes, at most 10000000 are read");
    #[cfg(unix)]
    {
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        refused("not a file");
    }
}
