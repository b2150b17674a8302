//! Models by name, from a server on this machine that speaks the hub's routes.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/hub_server.rs"]
mod hub_server;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use common::{cpu, fixture, read_file};
use contextlm_weights::hub::{HubName, find, find_dataset};
use contextlm_weights::{WeightsError, load};
use hub_server::{COMMIT, Server};
use safetensors::Dtype;

/// Why a model cannot be had.
fn refused(server: &Server, name: &str) -> String {
    let error = find(name, &server.options).unwrap_err();
    assert!(matches!(error, WeightsError::Hub { .. }), "{error:?}");
    error.to_string()
}

/// What a repository may hold: a model, and much that is never to be fetched.
fn repository() -> HashMap<String, Vec<u8>> {
    let mut files: HashMap<String, Vec<u8>> = ["pytorch_model.bin", "README.md", "run.py", "tf_model.h5", "../x.json"]
        .into_iter()
        .map(|name| (name.to_string(), b"not to be fetched".to_vec()))
        .collect();
    for name in ["config.json", "model.safetensors"] {
        files.insert(name.into(), fs::read(fixture("gpt2").join(name)).unwrap());
    }
    files.insert("generation_config.json".into(), b"{}".to_vec());
    files
}

fn values(dir: &Path) -> BTreeMap<String, common::Values> {
    read_file(&dir.join("model.safetensors"))
}

#[test]
fn a_model_is_fetched_once_and_nothing_else_is() {
    let server = Server::new(repository());
    let found = find("org/name", &server.options).unwrap();
    assert_eq!(found.model.unwrap().to_string(), format!("org/name@{COMMIT}"));
    assert_eq!(found.offline, None);
    assert!(found.dir.starts_with(&server.options.cache));
    load(&found.dir, &cpu()).unwrap();
    assert_eq!(values(&found.dir), values(&fixture("gpt2")));
    let asked = server.asked();
    for path in &asked[1..] {
        let name = path.rsplit('/').next().unwrap();
        assert!(["config.json", "generation_config.json", "model.safetensors"].contains(&name), "{path}");
    }
    assert!(server.hub.lock().unwrap().log.iter().all(|(.., token)| token == "Bearer secret"));

    // Another time it only asks which commit it is.
    assert_eq!(find("org/name", &server.options).unwrap().dir, found.dir);
    assert_eq!(server.asked().len(), asked.len() + 1);
    // And nothing at all where that is wished.
    let mut offline = server.options.clone();
    offline.offline = true;
    for name in ["org/name".to_string(), format!("org/name@{COMMIT}")] {
        assert_eq!(find(&name, &offline).unwrap().dir, found.dir);
    }
    assert_eq!(server.asked().len(), asked.len() + 1);
    assert!(find("org/name@other", &offline).unwrap_err().to_string().contains("HF_HUB_OFFLINE"));
}

#[test]
fn the_token_is_for_the_hub_alone() {
    for sized in [true, false] {
        let (server, other) = (Server::new(repository()), Server::new(repository()));
        // By another name, as large files are; the hub's own paths lead on within the hub.
        let elsewhere = other.options.endpoint.replace("127.0.0.1", "localhost");
        server.hub.lock().unwrap().elsewhere = Some((elsewhere, sized));
        let found = find("org/name", &server.options).unwrap();
        assert_eq!(values(&found.dir), values(&fixture("gpt2")));
        let tokens = |server: &Server| -> BTreeSet<String> {
            server.hub.lock().unwrap().log.iter().map(|(.., token)| token.clone()).collect()
        };
        assert_eq!(tokens(&server), BTreeSet::from(["Bearer secret".to_string()]));
        assert_eq!(tokens(&other), BTreeSet::from([String::new()]));

        let server = Server::new(repository());
        server.hub.lock().unwrap().elsewhere = Some(("/moved".into(), sized));
        let found = find("org/name", &server.options).unwrap();
        assert_eq!(values(&found.dir), values(&fixture("gpt2")));
        assert_eq!(tokens(&server), BTreeSet::from(["Bearer secret".to_string()]));
    }
}

#[test]
fn a_download_that_broke_off_goes_on_where_it_was() {
    let server = Server::new(repository());
    server.hub.lock().unwrap().broken = Some(("model.safetensors".into(), 1000, 1));
    assert!(refused(&server, "org/name").contains("model.safetensors"));
    let mut offline = server.options.clone();
    offline.offline = true;
    assert!(find("org/name", &offline).is_err(), "not whole yet");
    let found = find("org/name", &server.options).unwrap();
    assert_eq!(values(&found.dir), values(&fixture("gpt2")));
    let log = server.hub.lock().unwrap();
    assert_eq!(log.log.last().unwrap().1, "bytes=1000-");
}

#[test]
fn a_download_that_stalls_is_given_up_and_kept() {
    let server = Server::new(repository());
    let breaks = |silent| {
        let mut hub = server.hub.lock().unwrap();
        (hub.broken, hub.silent) = (Some(("model.safetensors".into(), 1000, 1)), silent);
    };
    // The small files are fetched without the short limit, which a slow disk may miss.
    breaks(false);
    find("org/name", &server.options).unwrap_err();
    breaks(true);
    let mut options = server.options.clone();
    options.stall = Duration::from_millis(300);
    let error = find("org/name", &options).unwrap_err().to_string();
    assert!(error.contains("model.safetensors: nothing came for 300ms"), "{error}");
    // In this process the call that stalled still holds the file.
    let part = server.options.cache.join("models--org--name/blobs/tag-of-model-safetensors.part");
    assert_eq!(fs::metadata(part).unwrap().len(), 2000);
}

#[test]
fn one_that_broke_off_after_its_last_byte_is_fetched_again() {
    let server = Server::new(repository());
    let blobs = server.options.cache.join("models--org--name/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join("tag-of-config-json.part"), vec![b' '; repository()["config.json"].len()]).unwrap();
    load(find("org/name", &server.options).unwrap().dir, &cpu()).unwrap();
}

#[test]
fn shards_are_fetched_as_the_index_says() {
    let all = values(&fixture("gpt2"));
    let mut files = repository();
    files.remove("model.safetensors");
    let dir = tempfile::tempdir().unwrap();
    let mut map = serde_json::Map::new();
    for (number, half) in [all.iter().take(5).collect::<Vec<_>>(), all.iter().skip(5).collect()].iter().enumerate() {
        let name = format!("model-0000{number}-of-00002.safetensors");
        let tensors = half.iter().map(|(name, values)| ((*name).clone(), (*values).clone())).collect();
        common::write_as(&dir.path().join(&name), &tensors, Dtype::F32, |value| value.to_le_bytes().to_vec());
        map.extend(half.iter().map(|(tensor, _)| ((*tensor).clone(), name.clone().into())));
        files.insert(name.clone(), fs::read(dir.path().join(name)).unwrap());
    }
    let index = serde_json::json!({ "weight_map": map }).to_string();
    files.insert("model.safetensors.index.json".into(), index.into_bytes());
    let server = Server::new(files.clone());
    let found = find("org/name@main", &server.options).unwrap();
    load(&found.dir, &cpu()).unwrap();

    // An index that names a shard elsewhere.
    let index = r#"{"weight_map": {"a": "../x.safetensors"}}"#;
    files.insert("model.safetensors.index.json".into(), index.into());
    let server = Server::new(files);
    let error = find("org/name", &server.options).unwrap_err().to_string();
    assert!(error.contains("../x.safetensors"), "{error}");
}

#[test]
fn what_the_hub_refuses_is_said() {
    let server = Server::new(repository());
    let error = refused(&server, "org/other");
    for part in ["org/other@main", "404", &server.options.endpoint, "path of its directory"] {
        assert!(error.contains(part), "{part:?} should be in: {error}");
    }
    let mut files = repository();
    files.remove("model.safetensors");
    assert!(refused(&Server::new(files), "org/name").contains("pickle"));
    // Tags become names of files.
    let server = Server::new(repository());
    server.hub.lock().unwrap().tag = Some("../../../escaped".into());
    assert!(refused(&server, "org/name").contains("escaped"));
    assert!(!server.options.cache.with_file_name("escaped").exists());
}

#[test]
fn without_a_network_it_says_so_soon() {
    let server = Server::new(repository());
    // A port where nobody listens, and an address where nobody answers.
    let mut options = server.options.clone();
    options.endpoint = "http://127.0.0.1:1".into();
    let error = find("org/name", &options).unwrap_err().to_string();
    assert!(error.contains("path of its directory"), "{error}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(options.patience < Duration::from_secs(10));
    options.patience = Duration::from_millis(200);
    options.endpoint = format!("http://{}", silent.local_addr().unwrap());
    let error = find("org/name", &options).unwrap_err().to_string();
    assert!(error.contains("no answer"), "{error}");

    // What the cache has is used all the same, and it is said.
    let found = find("org/name", &server.options).unwrap();
    options.endpoint = "http://127.0.0.1:1".into();
    let again = find("org/name", &options).unwrap();
    assert_eq!((&again.dir, &again.model), (&found.dir, &found.model));
    assert!(again.offline.is_some());
}

#[test]
fn a_directory_is_a_directory() {
    let server = Server::new(repository());
    let dir = fixture("gpt2");
    let found = find(dir.to_str().unwrap(), &server.options).unwrap();
    assert_eq!((found.dir, found.model), (dir, None));
    let error = find("no such directory", &server.options).unwrap_err();
    assert!(matches!(error, WeightsError::File { .. }) && error.to_string().contains("org/name"), "{error}");
    assert!(server.asked().is_empty());
}

/// A data set with more than is to be fetched.
fn dataset() -> HashMap<String, Vec<u8>> {
    let files = ["data/test.jsonl", "data/train.jsonl", "a/b.parquet", "load.py", "README.md"];
    files.into_iter().map(|name| (name.to_string(), format!("of {name}").into_bytes())).collect()
}

#[test]
fn files_of_a_data_set_are_fetched_once_and_nothing_else_is() {
    let server = Server::new(dataset());
    let name: HubName = "org/name".parse().unwrap();
    let files = ["data/test.jsonl".to_string(), "a/b.parquet".to_string()];
    let found = find_dataset(&name, &files, &server.options).unwrap();
    let texts: Vec<String> = found.paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    assert_eq!(texts, ["of data/test.jsonl", "of a/b.parquet"]);
    assert_eq!((found.dataset.to_string(), &found.offline), (format!("org/name@{COMMIT}"), &None));
    assert!(found.paths[0].starts_with(server.options.cache.join("datasets--org--name/snapshots").join(COMMIT)));
    let asked = server.asked();
    assert_eq!(asked[0], "/api/datasets/org/name/revision/main");
    for path in &asked[1..] {
        let name = path.strip_prefix(&format!("/datasets/org/name/resolve/{COMMIT}/")).unwrap();
        assert!(files.contains(&name.to_string()), "{path}");
    }
    assert!(server.hub.lock().unwrap().log.iter().all(|(.., token)| token == "Bearer secret"));

    // A branch is asked for again, a commit is not.
    assert_eq!(find_dataset(&name, &files, &server.options).unwrap(), found);
    assert_eq!(server.asked().len(), asked.len() + 1);
    let pinned: HubName = format!("org/name@{COMMIT}").parse().unwrap();
    assert_eq!(find_dataset(&pinned, &files, &server.options).unwrap(), found);
    assert_eq!(server.asked().len(), asked.len() + 1);
}

#[test]
fn without_the_hub_whole_data_in_the_cache_are_used_and_it_is_said() {
    let server = Server::new(dataset());
    let name: HubName = "org/name".parse().unwrap();
    let files = ["data/test.jsonl".to_string()];
    let found = find_dataset(&name, &files, &server.options).unwrap();
    let (mut offline, mut unreachable) = (server.options.clone(), server.options.clone());
    offline.offline = true;
    unreachable.endpoint = "http://127.0.0.1:1".into();
    for options in [offline, unreachable] {
        let again = find_dataset(&name, &files, &options).unwrap();
        assert_eq!((&again.paths, &again.dataset), (&found.paths, &found.dataset));
        assert!(again.offline.is_some());
        // Another file of the same commit is not there.
        let more = [files[0].clone(), "data/train.jsonl".to_string()];
        let error = find_dataset(&name, &more, &options).unwrap_err().to_string();
        assert!(error.starts_with("data set org/name@main: ") && error.contains(&options.endpoint), "{error}");
    }
}

#[test]
fn a_data_set_that_broke_off_is_not_taken_for_whole() {
    let server = Server::new(dataset());
    server.hub.lock().unwrap().broken = Some(("b.parquet".into(), 4, 1));
    let name: HubName = "org/name".parse().unwrap();
    let files = ["data/test.jsonl".to_string(), "a/b.parquet".to_string()];
    assert!(find_dataset(&name, &files, &server.options).unwrap_err().to_string().contains("a/b.parquet"));
    let mut offline = server.options.clone();
    offline.offline = true;
    assert!(find_dataset(&name, &files, &offline).unwrap_err().to_string().contains("HF_HUB_OFFLINE"));
    let found = find_dataset(&name, &files, &server.options).unwrap();
    assert_eq!(fs::read_to_string(&found.paths[1]).unwrap(), "of a/b.parquet");
    assert_eq!(server.hub.lock().unwrap().log.last().unwrap().1, "bytes=4-");
}

#[test]
fn what_a_data_set_lacks_or_may_not_give_is_said() {
    let server = Server::new(dataset());
    let error = |name: &str, file: &str| {
        let error = find_dataset(&name.parse().unwrap(), &[file.to_string()], &server.options).unwrap_err();
        assert!(matches!(error, WeightsError::Dataset { .. }));
        error.to_string()
    };
    let missing = error("org/name", "data/valid.jsonl");
    assert!(
        missing.contains("there is no data/valid.jsonl in it, but ") && missing.contains("data/test.jsonl"),
        "{missing}"
    );
    assert!(!missing.contains("load.py"), "{missing}");
    assert!(error("org/other", "a.jsonl").contains("there is no such data set or revision"));
    let asked = server.asked().len();
    for file in ["load.py", "../../a.jsonl", "a.bin"] {
        assert!(error("org/name", file).contains("only files of parquet, jsonl, json, txt are fetched"), "{file}");
    }
    assert_eq!(server.asked().len(), asked);
}
