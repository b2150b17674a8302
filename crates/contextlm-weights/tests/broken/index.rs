//! Indexes of shards.

use std::collections::BTreeMap;
use std::fs;

use contextlm_weights::{Problem, WeightsError, load};
use serde_json::{Value, json};

use crate::common::{Values, cpu, directory, tensors_of, write_file};
use crate::{error, refused};

const INDEX: &str = "model.safetensors.index.json";

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

#[test]
fn an_index_that_is_no_json_of_names() {
    let dir = sharded(|_, _| {});
    let path = dir.path().join(INDEX);
    let (text, first) = (fs::read_to_string(&path).unwrap(), "\"transformer.h.0.ln_1.bias\":\"a.safetensors\"");
    assert!(text.contains(first));
    for (bytes, part) in [
        (&b"{\"weight_map\": {\"a\xff\": \"a.safetensors\"}}"[..], "index"),
        (b"{\"weight_map\": {\"a\": \"a.safetensors", "EOF"),
        (b"", "EOF"),
        (text.replace(first, &format!("{first},{first}")).as_bytes(), "transformer.h.0.ln_1.bias comes twice"),
        ("[".repeat(100_000).as_bytes(), "index"),
    ] {
        fs::write(&path, bytes).unwrap();
        refused(dir.path(), INDEX, &[part]);
    }
    // Takes no space on disk.
    fs::File::create(&path).unwrap().set_len(100_000_001).unwrap();
    refused(dir.path(), INDEX, &["100000001 bytes, at most 100000000"]);
}

/// What neither the index nor a shard has.
#[test]
fn a_tensor_of_the_model_in_no_shard() {
    let wpe = String::from("transformer.wpe.weight");
    let dir = sharded(|index, second| {
        second.remove(&wpe);
        index["weight_map"].as_object_mut().unwrap().remove(&wpe);
    });
    let WeightsError::Tensors { problems, .. } = error(dir.path()) else { panic!("{}", error(dir.path())) };
    assert_eq!(problems, [Problem::Missing { name: wpe, shape: vec![12, 24] }]);
}

#[cfg(unix)]
#[test]
fn a_shard_that_is_a_link_out() {
    let dir = sharded(|_, _| {});
    let elsewhere = tempfile::tempdir().unwrap();
    fs::rename(dir.path().join(B), elsewhere.path().join(B)).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join(B), dir.path().join(B)).unwrap();
    refused(dir.path(), B, &["a link out of its directory"]);
}
