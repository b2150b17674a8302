//! A server on this machine that speaks the hub's routes.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use contextlm_weights::hub::HubOptions;

/// Of everything that it has.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server has and how it behaves.
#[derive(Default)]
pub struct Hub {
    pub files: HashMap<String, Vec<u8>>,
    /// The tag of every file, instead of one made of its name.
    pub tag: Option<String>,
    /// Answers to files of this ending break off after so many bytes, as often as it says.
    pub broken: Option<(String, usize, usize)>,
    /// Whether what breaks off is never closed.
    pub silent: bool,
    /// Files are elsewhere: what stands before their path in an answer that leads there, and whether it says how large they are.
    pub elsewhere: Option<(String, bool)>,
    /// What was asked for: path, range, token.
    pub log: Vec<(String, String, String)>,
}

pub struct Server {
    pub hub: Arc<Mutex<Hub>>,
    /// Removed with it.
    _cache: tempfile::TempDir,
    pub options: HubOptions,
}

impl Server {
    /// Of one repository, the model or data set org/name.
    pub fn new(files: HashMap<String, Vec<u8>>) -> Self {
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
        Self { hub, _cache: cache, options }
    }

    /// The paths that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.hub.lock().unwrap().log.iter().map(|(path, ..)| path.clone()).collect()
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
    let moved = path.strip_prefix("/moved");
    let path = moved.unwrap_or(&path);
    let after = |prefixes: [&str; 2]| prefixes.iter().find_map(|prefix| path.strip_prefix(prefix));
    let files = format!("org/name/resolve/{COMMIT}/");
    if let Some(rest) = after(["/api/models/org/name/revision/", "/api/datasets/org/name/revision/"]) {
        if ["main", COMMIT].contains(&rest) {
            let siblings: Vec<_> = hub.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
            let body = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
            return send("200 OK", "", body.len(), body.as_bytes());
        }
    } else if let Some(name) = after([&format!("/{files}"), &format!("/datasets/{files}")])
        && let Some(bytes) = hub.files.get(name).cloned()
    {
        let range = header("range");
        let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let from: usize = from.parse().unwrap();
        let to = to.parse().map_or(bytes.len(), |to: usize| bytes.len().min(to + 1));
        if from >= to {
            return send("416 Range Not Satisfiable", "", 0, b"");
        }
        let tag = hub.tag.clone().unwrap_or(format!("tag-of-{}", name.replace(['.', '/'], "-")));
        if let (Some((place, sized)), None) = (&hub.elsewhere, moved) {
            let size = if *sized { format!("X-Linked-Size: {}\r\n", bytes.len()) } else { String::new() };
            let more =
                format!("Location: {place}{path}\r\nX-Linked-Etag: \"{tag}\"\r\nX-Repo-Commit: {COMMIT}\r\n{size}");
            return send("302 Found", &more, 0, b"");
        }
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
