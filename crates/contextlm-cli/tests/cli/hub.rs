//! Models by their name on the hub: what the environment says reaches the program.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::{fixture, text};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A call in which only these of the hub's variables are set.
pub(crate) fn contextlm(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_contextlm"));
    for name in ["HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN", "HF_ENDPOINT", "HF_HOME"] {
        command.env_remove(name);
    }
    command.args(args).envs(env.iter().copied()).output().unwrap()
}

pub(crate) fn said(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// The home of Hugging Face's programs, with a model in its cache.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let repository = home.path().join("hub/models--org--name");
    let snapshot = repository.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(fixture("gpt2").join(name), snapshot.join(name)).unwrap();
    }
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), COMMIT).unwrap();
    home
}

#[test]
fn offline_the_cache_is_used_and_its_commit_is_said() {
    let home = home();
    let env = [("HF_HOME", text(home.path())), ("HF_HUB_OFFLINE", "1"), ("HF_ENDPOINT", "http://127.0.0.1:1")];
    let pinned = format!("org/name@{COMMIT}");
    let output = contextlm(&["score", "--model", "org/name", "--tokens", "1 2 3", "--json"], &env);
    let errors = said(output.stderr);
    assert!(output.status.success() && errors.contains(&pinned) && errors.contains("HF_HUB_OFFLINE"), "{errors}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["model"], *pinned);

    // What is made of it names it.
    let out = home.path().join("out");
    let output = contextlm(&["import", "--from", "org/name", "--out", text(&out), "--json"], &env);
    assert!(output.status.success(), "{}", said(output.stderr));
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("base_model: org/name\n") && card.contains(&format!("| base | {pinned} |")), "{card}");

    let output = contextlm(&["inspect", "--model", "org/other"], &env);
    let errors = said(output.stderr);
    assert!(output.status.code() == Some(1) && errors.contains("HF_HUB_OFFLINE is set"), "{errors}");
}

#[test]
fn without_a_network_an_error_says_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let env = [("HF_HOME", text(empty.path())), ("HF_ENDPOINT", "http://127.0.0.1:1")];
    let output = contextlm(&["inspect", "--model", "org/name"], &env);
    let errors = said(output.stderr);
    assert_eq!((output.status.code(), errors.trim_end().lines().count()), (Some(1), 1), "{errors}");
    for part in ["org/name@main", "http://127.0.0.1:1", "give the path of its directory"] {
        assert!(errors.contains(part), "{part:?} should be in: {errors}");
    }
    // With a cache it goes on.
    let home = home();
    let env = [("HF_HOME", text(home.path())), ("HF_ENDPOINT", "http://127.0.0.1:1")];
    let output = contextlm(&["inspect", "--model", "org/name"], &env);
    assert!(output.status.success() && said(output.stderr).contains("from the cache"));
}

/// What is asked of the endpoint, and with which token.
#[test]
fn endpoint_and_token_are_those_of_the_environment() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        request
    });
    let empty = tempfile::tempdir().unwrap();
    let env = [("HF_HOME", text(empty.path())), ("HF_ENDPOINT", &endpoint), ("HF_TOKEN", "secret")];
    let output = contextlm(&["inspect", "--model", "org/name@v1"], &env);
    let (request, errors) = (server.join().unwrap(), said(output.stderr));
    assert!(request[0].starts_with("GET /api/models/org/name/revision/v1 "), "{request:?}");
    assert!(request.iter().any(|line| line.eq_ignore_ascii_case("authorization: bearer secret")), "{request:?}");
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("HF_TOKEN") && errors.contains(&endpoint) && !errors.contains("secret"), "{errors}");
    assert!(!Path::new("org").exists());
}

#[test]
fn inspect_fetches_the_config_alone() {
    let read = |name: &str| (name.to_string(), fs::read(fixture("gpt2").join(name)).unwrap());
    let server = crate::hub_server::Server::new([read("config.json"), read("model.safetensors")].into());
    let home = tempfile::tempdir().unwrap();
    let env = [("HF_HOME", text(home.path())), ("HF_ENDPOINT", &*server.options.endpoint)];
    let asked = |weights: bool| server.asked().iter().any(|path| path.ends_with("model.safetensors")) == weights;
    let output = contextlm(&["inspect", "--model", "org/name", "--json"], &env);
    assert!(output.status.success() && asked(false), "{}", said(output.stderr));
    let output = contextlm(&["score", "--model", "org/name", "--tokens", "1 2 3"], &env);
    assert!(output.status.success() && asked(true), "{}", said(output.stderr));
}
