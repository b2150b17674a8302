//! Broken and hostile files: each ends in an error that names the file and what is wrong with it.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{Values, cpu, directory, fixture, tensors_of, write_file};
use contextlm_weights::{Problem, WeightsError, load};
use serde_json::{Value, json};

/// Why the directory cannot be loaded.
fn error(dir: &Path) -> WeightsError {
    load(dir, &cpu()).map(|loaded| loaded.config).expect_err("this must not load")
}

/// Asserts that the error is about a file and says all of the parts.
#[track_caller]
fn refused(dir: &Path, file: &str, parts: &[&str]) {
    let error = error(dir);
    let WeightsError::File { path, reason } = &error else { panic!("{error}") };
    assert_eq!(path, &dir.join(file), "{error}");
    for part in parts {
        assert!(reason.contains(part), "{part:?} should be in: {reason}");
    }
}

/// A directory whose model.safetensors has these bytes.
fn with_bytes(bytes: &[u8]) -> tempfile::TempDir {
    let dir = directory("gpt2", &BTreeMap::new());
    fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
    dir
}

/// The bytes of a file with this header and this much data.
fn file(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}

#[track_caller]
fn file_refused(bytes: &[u8], parts: &[&str]) {
    refused(with_bytes(bytes).path(), "model.safetensors", parts);
}

#[test]
fn lengths_that_the_file_does_not_have() {
    file_refused(&[], &["too short"]);
    file_refused(&[0; 7], &["too short"]);
    file_refused(&u64::MAX.to_le_bytes(), &["header of 18446744073709551615 bytes", "file of 8"]);
    file_refused(&[&1000_u64.to_le_bytes()[..], b"{}"].concat(), &["header of 1000 bytes", "file of 10"]);
    let whole = fs::read(fixture("gpt2").join("model.safetensors")).unwrap();
    file_refused(&whole[..whole.len() - 1], &["truncated"]);
    file_refused(&[&whole[..], &[0]].concat(), &["truncated"]);
    for length in [8, 9, 100, 1000, whole.len() / 2] {
        file_refused(&whole[..length], &[]);
    }
}

#[test]
fn a_header_beyond_the_formats_limit() {
    let dir = with_bytes(&100_000_001_u64.to_le_bytes());
    let path = dir.path().join("model.safetensors");
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(200_000_000).unwrap(); // takes no space on disk
    refused(dir.path(), "model.safetensors", &["header of 100000001 bytes", "at most 100000000"]);
}

#[test]
fn headers_that_are_not_what_they_should_be() {
    file_refused(&file("", 0), &["header"]);
    file_refused(&file("[]", 0), &["header", "expected an object"]);
    file_refused(&file(r#"{"a": 1}"#, 0), &["header"]);
    file_refused(&file(r#"{"a":{"dtype":"F32","shape":[1]}}"#, 4), &["data_offsets"]);
    file_refused(&file(r#"{"a":{"dtype":"F3","shape":[1],"data_offsets":[0,4]}}"#, 4), &["F3"]);
    file_refused(&file(r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4), &["-1"]);
    file_refused(&file(r#"{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#, 4), &["1.5"]);
    file_refused(&file(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"b":0}}"#, 4), &["unknown field"]);
    let twice = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    file_refused(&file(twice, 8), &["a comes twice"]);
    let not_utf8 = [&5_u64.to_le_bytes()[..], b"{\"\xff\":"].concat();
    file_refused(&not_utf8, &["header"]);
    file_refused(&file(&"[".repeat(100_000), 0), &["header"]);
    file_refused(&file(&format!("{{\"__metadata__\":{}", "[".repeat(100_000)), 0), &["EOF"]);
    let deep = format!(r#"{{"a":{{"dtype":"F32","shape":[{}1],"data_offsets":[0,4]}}}}"#, "1,".repeat(100_000));
    file_refused(&file(&deep, 4), &["more than 8 dimensions"]);
}

#[test]
fn offsets_and_shapes_that_do_not_fit() {
    let one = |shape: &str, from: u64, to: u64| {
        format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}}}"#)
    };
    file_refused(&file(&one("[2]", 0, 8), 4), &["promises 8 bytes", "holds 4"]);
    file_refused(&file(&one("[1]", 4, 8), 8), &["data_offsets [4, 8]"]);
    file_refused(&file(&one("[1]", 4, 0), 4), &["data_offsets [4, 0]"]);
    file_refused(&file(&one("[1]", 0, u64::MAX), 4), &["holds 4"]);
    file_refused(&file(&one("[3]", 0, 4), 4), &["shape [3]", "4 bytes"]);
    file_refused(&file(&one("[4294967296, 4294967296]", 0, 4), 4), &["does not take 4 bytes"]);
    file_refused(&file(&one("[0, 18446744073709551615]", 0, 4), 4), &["does not take 4 bytes"]);
    let two = |a: &str, b: &str| {
        let entry = |offsets: &str| format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":{offsets}}}"#);
        file(&format!(r#"{{"a":{},"b":{}}}"#, entry(a), entry(b)), 8)
    };
    file_refused(&two("[0,4]", "[2,6]"), &["b: data_offsets [2, 6]"]);
    file_refused(&two("[0,4]", "[0,4]"), &["b: data_offsets [0, 4]"]);
    file_refused(&two("[0,4]", "[5,9]"), &["b: data_offsets [5, 9]"]);
}

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

/// Names of shards.
const A: &str = "a.safetensors";
const B: &str = "b.safetensors";

/// A directory of two shards and an index that the closure may spoil.
fn sharded(spoil: impl Fn(&mut Value, &mut BTreeMap<String, Values>)) -> tempfile::TempDir {
    let dir = directory("gpt2", &BTreeMap::new());
    fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    let (first, mut second): (BTreeMap<_, _>, BTreeMap<_, _>) =
        tensors_of("gpt2").into_iter().partition(|(name, _)| name.contains("h.0."));
    let map =
        first.keys().map(|name| (name.clone(), json!(A))).chain(second.keys().map(|name| (name.clone(), json!(B))));
    let mut index = json!({ "weight_map": Value::Object(map.collect()) });
    spoil(&mut index, &mut second);
    write_file(&dir.path().join(A), &first);
    write_file(&dir.path().join(B), &second);
    fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    dir
}

#[test]
fn an_index_that_points_elsewhere() {
    const INDEX: &str = "model.safetensors.index.json";
    let wpe = "transformer.wpe.weight";
    assert!(load(sharded(|_, _| {}).path(), &cpu()).is_ok());
    for path in ["../b", "/etc/passwd", "", ".", "..", "x/b", "b/", "./b", "..\\b", "C:\\b", "b\0"] {
        let dir = sharded(|index, _| index["weight_map"][wpe] = json!(path));
        refused(dir.path(), INDEX, &[wpe, "must be the name of a file in the same folder"]);
    }
    refused(sharded(|index, _| index["weight_map"][wpe] = json!("c.safetensors")).path(), "c.safetensors", &[]);
    refused(sharded(|index, _| index["weight_map"][wpe] = json!(1)).path(), INDEX, &["index"]);
    refused(sharded(|index, _| *index = json!({})).path(), INDEX, &["weight_map"]);
    refused(sharded(|index, _| *index = json!([])).path(), INDEX, &["index"]);
}

#[test]
fn an_index_that_does_not_agree_with_its_shards() {
    #[track_caller]
    fn found(dir: &tempfile::TempDir) -> Vec<Problem> {
        match error(dir.path()) {
            WeightsError::Tensors { problems, .. } => problems,
            other => panic!("{other}"),
        }
    }
    let wpe = String::from("transformer.wpe.weight");
    let missing = sharded(|_, second| {
        second.remove(&wpe);
    });
    assert_eq!(found(&missing), [Problem::NotInShard { name: wpe.clone(), file: B.into() }]);
    let elsewhere = sharded(|index, _| index["weight_map"][&wpe] = json!(A));
    let (unexpected, not_in) = (
        Problem::Unexpected { name: wpe.clone(), file: B.into() },
        Problem::NotInShard { name: wpe.clone(), file: A.into() },
    );
    assert_eq!(found(&elsewhere), [unexpected, not_in]);
    let name = String::from("transformer.h.0.ln_1.bias");
    let twice = sharded(|_, second| {
        second.insert(name.clone(), (vec![24], vec![0.0; 24]));
    });
    let problem = Problem::Twice { name: name.clone(), first: A.into(), second: B.into() };
    assert!(found(&twice).contains(&problem), "{:?}", found(&twice));
}

/// A fixture with one key of its config replaced.
fn with_config(of: &str, key: &str, value: Value) -> tempfile::TempDir {
    let dir = directory(of, &tensors_of(of));
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    match value {
        Value::Null => drop(config.as_object_mut().unwrap().remove(key)),
        value => config[key] = value,
    }
    fs::write(&path, config.to_string()).unwrap();
    dir
}

#[test]
fn configs_that_are_not_of_these_files() {
    for (of, key) in [
        ("gpt2", "n_embd"),
        ("gpt2", "n_layer"),
        ("gpt2", "n_head"),
        ("gpt2", "n_positions"),
        ("gpt2", "vocab_size"),
        ("gpt2", "n_inner"),
        ("neox", "hidden_size"),
        ("neox", "num_hidden_layers"),
        ("neox", "num_attention_heads"),
        ("neox", "max_position_embeddings"),
        ("neox", "vocab_size"),
        ("neox", "intermediate_size"),
    ] {
        for value in [json!(0), json!(-1), json!(1_u64 << 31), json!(u64::MAX), json!(1e300), json!("8"), json!([])] {
            let error = error(with_config(of, key, value.clone()).path());
            assert!(matches!(error, WeightsError::Config(_)), "{key} = {value}: {error}");
        }
    }
    // As large as a size may be, and many times the file. NeoX stores nothing for a position.
    let most = json!(i32::MAX);
    for (of, key) in [("gpt2", "n_layer"), ("neox", "num_hidden_layers")] {
        let error = error(with_config(of, key, json!(10_000)).path());
        assert!(matches!(error, WeightsError::Layers { layers: 10_000, .. }), "{error}");
    }
    for (of, key) in [
        ("gpt2", "vocab_size"),
        ("gpt2", "n_positions"),
        ("gpt2", "n_inner"),
        ("neox", "vocab_size"),
        ("neox", "intermediate_size"),
    ] {
        let error = error(with_config(of, key, most.clone()).path());
        assert!(matches!(error, WeightsError::Tensors { .. }), "{error}");
    }
    // Left out, a size is Hugging Face's default.
    let error = error(with_config("gpt2", "n_embd", Value::Null).path());
    assert!(error.to_string().contains("transformer.wte.weight is [61, 24] and should be [61, 768]"), "{error}");
}

#[test]
fn configs_that_are_no_configs() {
    let unknown = error(with_config("gpt2", "model_type", json!("bert")).path());
    assert!(unknown.to_string().contains("bert"), "{unknown}");
    let dir = directory("gpt2", &tensors_of("gpt2"));
    for text in ["", "{", "[]", "null", "{}", "\u{0}", &"[".repeat(100_000), r#"{"model_type":"contextlm"}"#] {
        fs::write(dir.path().join("config.json"), text).unwrap();
        assert!(matches!(error(dir.path()), WeightsError::Config(_)), "{text:.20}");
    }
    let file = fs::File::create(dir.path().join("config.json")).unwrap();
    file.set_len(10_000_001).unwrap();
    refused(dir.path(), "config.json", &["10000001 bytes, at most 10000000"]);
}

#[test]
fn context_settings_beyond_the_files() {
    let backbone: Value =
        serde_json::from_str(&fs::read_to_string(fixture("gpt2").join("config.json")).unwrap()).unwrap();
    let dir = directory("gpt2", &tensors_of("gpt2"));
    let with = |key: &str, value: Value| {
        let mut context = json!({ "pooling": "learned" });
        context[key] = value;
        let config = json!({ "model_type": "contextlm", "backbone": backbone, "context": context });
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        error(dir.path())
    };
    for (key, value) in [
        ("chunk_size", json!(0)),
        ("chunk_size", json!(u64::MAX)),
        ("encoder_layers", json!(3)),
        ("predictor_layers", json!(u64::MAX)),
        ("predictor_layers", json!(10_001)),
        ("gate_init", json!(1e300)),
        ("window", json!(4)),
    ] {
        let error = with(key, value.clone());
        assert!(matches!(error, WeightsError::Config(_)), "{key} = {value}: {error}");
        assert!(error.to_string().contains(&format!("context.{key} = ")), "{error}");
    }
    assert!(matches!(with("predictor_layers", json!(10_000)), WeightsError::Layers { .. }));
    let large = with("chunk_size", json!(i32::MAX)).to_string();
    assert!(large.contains("missing: context.pool.weight [24, 51539607528]"), "{large}");
}

#[test]
fn a_changed_byte_in_the_header_is_never_a_panic() {
    // Some still load: a space for a comma between entries of the metadata, say.
    let whole = fs::read(fixture("gpt2_odd_head").join("model.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let dir = directory("gpt2_odd_head", &BTreeMap::new());
    let mut failed = 0;
    for at in (0..header).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        failed += usize::from(load(dir.path(), &cpu()).is_err());
    }
    assert!(failed > header / 6, "{failed} of {}", header / 3);
}

#[test]
fn pickles_are_refused_by_name() {
    for name in ["pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth", "model.pt"] {
        let dir = directory("gpt2", &tensors_of("gpt2"));
        fs::rename(dir.path().join("model.safetensors"), dir.path().join(name)).unwrap();
        refused(dir.path(), name, &["a pickle file can run any code"]);
    }
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
