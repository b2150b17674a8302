//! Models by name, from a server on this machine that speaks the hub's routes.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{cpu, fixture, read_file};
use contextlm_weights::hub::{HubOptions, find};
use contextlm_weights::{WeightsError, load};
use safetensors::Dtype;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server has and how it behaves.
#[derive(Default)]
struct Hub {
    files: HashMap<String, Vec<u8>>,
    /// The tag of every file, instead of one made of its name.
    tag: Option<String>,
    /// Answers to files of this ending break off after so many bytes, as often as it says.
    broken: Option<(String, usize, usize)>,
    /// Whether what breaks off is never closed.
    silent: bool,
    /// What was asked for: path, range, token.
    log: Vec<(String, String, String)>,
}

struct Server {
    hub: Arc<Mutex<Hub>>,
    cache: tempfile::TempDir,
    options: HubOptions,
}

impl Server {
    fn new(files: HashMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cache = tempfile::tempdir().unwrap();
        let mut options = HubOptions::from_env();
        options.endpoint = format!("http://{}", listener.local_addr().unwrap());
        options.cache = cache.path().join("hub");
        (options.token, options.offline, options.progress) = (Some("secret".into()), false, false);
        let hub = Arc::new(Mutex::new(Hub { files, ..Hub::default() }));
        let shared = hub.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let hub = shared.clone();
                std::thread::spawn(move || answer(stream.unwrap(), &hub));
            }
        });
        Self { hub, cache, options }
    }

    fn asked(&self) -> Vec<String> {
        self.hub.lock().unwrap().log.iter().map(|(path, ..)| path.clone()).collect()
    }

    fn error(&self, name: &str) -> String {
        let error = find(name, &self.options).unwrap_err();
        assert!(matches!(error, WeightsError::Hub { .. }), "{error:?}");
        error.to_string()
    }
}

/// One request, one answer, then the connection ends.
fn answer(mut stream: TcpStream, hub: &Mutex<Hub>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_string();
    let headers: HashMap<String, String> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": ").map(|(key, value)| (key.to_lowercase(), value.to_string())))
        .collect();
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let mut hub = hub.lock().unwrap();
    hub.log.push((path.clone(), header("range"), header("authorization")));
    let mut send = |status: &str, more: &str, length: usize, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n");
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    };
    if let Some(rest) = path.strip_prefix("/api/models/org/name/revision/") {
        if ["main", COMMIT].contains(&rest) {
            let siblings: Vec<_> = hub.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
            let body = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
            return send("200 OK", "", body.len(), body.as_bytes());
        }
    } else if let Some(name) = path.strip_prefix(&format!("/org/name/resolve/{COMMIT}/"))
        && let Some(bytes) = hub.files.get(name).cloned()
    {
        let range = header("range");
        let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let from: usize = from.parse().unwrap();
        let to = to.parse().map_or(bytes.len(), |to: usize| bytes.len().min(to + 1));
        if from >= to {
            return send("416 Range Not Satisfiable", "", 0, b"");
        }
        let tag = hub.tag.clone().unwrap_or(format!("tag-of-{}", name.replace('.', "-")));
        let (last, all) = (to - 1, bytes.len());
        let more =
            format!("ETag: \"{tag}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Range: bytes {from}-{last}/{all}\r\n");
        let mut body = &bytes[from..to];
        if let Some((ending, bytes, times)) = &mut hub.broken
            && name.ends_with(&**ending)
            && *times > 0
            && body.len() > *bytes
        {
            *times -= 1;
            body = &body[..*bytes];
            let silent = hub.silent;
            drop(hub);
            send("206 Partial Content", &more, to - from, body);
            if silent {
                loop {
                    std::thread::park();
                }
            }
            return;
        }
        return send("206 Partial Content", &more, to - from, body);
    }
    send("404 Not Found", "", 0, b"");
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
    assert!(found.dir.starts_with(server.cache.path()));
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
fn a_download_that_broke_off_goes_on_where_it_was() {
    let server = Server::new(repository());
    server.hub.lock().unwrap().broken = Some(("model.safetensors".into(), 1000, 1));
    assert!(server.error("org/name").contains("model.safetensors"));
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
    {
        let mut hub = server.hub.lock().unwrap();
        (hub.broken, hub.silent) = (Some(("model.safetensors".into(), 1000, 1)), true);
    }
    let mut options = server.options.clone();
    options.stall = Duration::from_millis(300);
    let error = find("org/name", &options).unwrap_err().to_string();
    assert!(error.contains("model.safetensors: nothing came for 300ms"), "{error}");
    // In this process the first call still holds the file.
    let part = server.options.cache.join("models--org--name/blobs/tag-of-model-safetensors.part");
    assert_eq!(fs::metadata(part).unwrap().len(), 1000);
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
    let error = server.error("org/other");
    for part in ["org/other@main", "404", &server.options.endpoint, "path of its directory"] {
        assert!(error.contains(part), "{part:?} should be in: {error}");
    }
    let mut files = repository();
    files.remove("model.safetensors");
    assert!(Server::new(files).error("org/name").contains("pickle"));
    // Tags become names of files.
    let server = Server::new(repository());
    server.hub.lock().unwrap().tag = Some("../../../escaped".into());
    assert!(server.error("org/name").contains("escaped"));
    assert!(!server.cache.path().join("escaped").exists());
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
