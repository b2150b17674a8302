//! Requests for files. hf-hub's own would show the token to every host that the hub points to.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use hf_hub::api::Progress;
use indicatif::ProgressBar;
use ureq::Agent;
use ureq::http::{Response, Uri};

use super::HubOptions;

/// Answers of the hub that lead on before it has to be the file.
const REDIRECTS: usize = 5;

/// What the hub says of a file.
#[derive(Debug, Clone)]
pub(super) struct About {
    /// Names its content.
    pub etag: String,
    pub commit: String,
    /// In bytes.
    pub size: u64,
    /// Where it is: at the hub, or wherever the hub keeps large files.
    url: String,
}

/// Asks for files, with the token at the hub and without it everywhere else.
#[derive(Clone)]
pub(super) struct Transfer {
    agent: Agent,
    /// Scheme, host and port of the hub.
    hub: Option<(String, String, u16)>,
    token: Option<String>,
    progress: bool,
}

impl Transfer {
    pub fn new(options: &HubOptions) -> Self {
        // Redirects are followed here, since each has a say in who sees the token.
        let agent = Agent::config_builder().max_redirects(0).build().into();
        let hub = origin(&options.endpoint);
        Self { agent, hub, token: options.token.clone(), progress: options.progress }
    }

    /// Asks the hub about a file.
    pub fn about(&self, url: &str) -> Result<About, String> {
        let (url, answer) = self.follow(url, "bytes=0-0", true)?;
        let etag =
            header(&answer, "x-linked-etag").or_else(|| header(&answer, "etag")).ok_or("the hub gives no tag")?;
        let etag = etag.trim_start_matches("W/").replace('"', "");
        let commit = header(&answer, "x-repo-commit").ok_or("the hub gives no commit")?;
        let linked = header(&answer, "x-linked-size").and_then(|size| size.parse().ok());
        let size = match answer.status().is_redirection() {
            true if linked.is_none() => size(&self.follow(&url, "bytes=0-0", false)?.1),
            true => linked,
            false => size(&answer),
        };
        Ok(About { etag, commit, size: size.ok_or("nobody says how large it is")?, url })
    }

    /// Goes on with a file that is there in part.
    pub fn download(&self, about: &About, name: &str, part: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", part.display());
        let mut file = File::options().create(true).append(true).open(part).map_err(failed)?;
        let mut from = file.metadata().map_err(failed)?.len();
        let (_, answer) = self.follow(&about.url, &format!("bytes={from}-"), false)?;
        if answer.status() != 206 {
            // The whole file, whatever was asked for.
            file.set_len(0).map_err(failed)?;
            from = 0;
        }
        let mut bar = if self.progress { ProgressBar::new(0) } else { ProgressBar::hidden() };
        Progress::init(&mut bar, about.size as usize, name);
        bar.set_position(from);
        let body = answer.into_body().into_reader().take(about.size.saturating_sub(from));
        write(body, &mut file, &bar)?;
        bar.finish();
        let found = fs::metadata(part).map_err(failed)?.len();
        if found != about.size {
            return Err(format!("{found} bytes came, and it has {}; try again", about.size));
        }
        file.sync_all().map_err(failed)
    }

    /// The answer at the end of all redirects, and its address; with `at_hub` the first one that leads away from the hub, and
    /// where to.
    fn follow(&self, url: &str, range: &str, at_hub: bool) -> Result<(String, Response<ureq::Body>), String> {
        let mut url = url.to_string();
        for _ in 0..=REDIRECTS {
            let mut request = self.agent.get(&url).header("Range", range);
            if let Some(token) = self.token.as_ref().filter(|_| self.is_hub(&url)) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let answer = request.call().map_err(|error| match error {
                ureq::Error::StatusCode(code @ (401 | 403)) => {
                    format!("status {code}: it needs a token in HF_TOKEN that may read it")
                }
                error => error.to_string(),
            })?;
            let Some(next) = header(&answer, "location").filter(|_| answer.status().is_redirection()) else {
                return Ok((url, answer));
            };
            let next = join(&url, &next).ok_or_else(|| format!("a redirect to {next:?}"))?;
            if at_hub && !self.is_hub(&next) {
                return Ok((next, answer));
            }
            url = next;
        }
        Err(format!("more than {REDIRECTS} redirects, the last to {url:?}"))
    }

    fn is_hub(&self, url: &str) -> bool {
        self.hub.is_some() && origin(url) == self.hub
    }
}

/// Writes what comes, and shows how much; what came before a fault is kept.
fn write(body: impl Read, file: &mut File, bar: &ProgressBar) -> Result<(), String> {
    let mut body = bar.wrap_read(body);
    let mut piece = vec![0; 1 << 16];
    loop {
        match body.read(&mut piece).map_err(|error| error.to_string())? {
            0 => return Ok(()),
            count => file.write_all(&piece[..count]).map_err(|error| error.to_string())?,
        }
    }
}

/// Who answers at an address.
fn origin(url: &str) -> Option<(String, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

/// Where a redirect leads: a whole address, or a path of the same host.
fn join(url: &str, location: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    match location {
        _ if location.starts_with("//") => Some(format!("{scheme}:{location}")),
        _ if location.starts_with('/') => Some(format!("{scheme}://{authority}{location}")),
        _ => origin(location).map(|_| location.to_string()),
    }
}

fn header(answer: &Response<ureq::Body>, name: &str) -> Option<String> {
    Some(answer.headers().get(name)?.to_str().ok()?.to_string())
}

/// The size of a file of which the first byte was asked for.
fn size(answer: &Response<ureq::Body>) -> Option<u64> {
    match header(answer, "content-range") {
        Some(range) => range.rsplit('/').next()?.parse().ok(),
        None => header(answer, "x-linked-size").or_else(|| header(answer, "content-length"))?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_paths_and_to_whole_addresses() {
        for (location, expected) in [
            ("/x?a=b", Some("https://hub.co:81/x?a=b")),
            ("//other.co/x", Some("https://other.co/x")),
            ("http://other.co/x", Some("http://other.co/x")),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(join("https://hub.co:81/a/b", location).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn progress_is_what_has_come() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("broken"))
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        let mut file = File::create(&path).unwrap();
        let mut bar = ProgressBar::hidden();
        Progress::init(&mut bar, 300_000, "model.safetensors");
        bar.set_position(100_000);
        write([7_u8; 200_000].as_slice(), &mut file, &bar).unwrap();
        assert_eq!((bar.position(), bar.length(), bar.message()), (300_000, Some(300_000), "model.safetensors".into()));
        assert_eq!(write([7_u8; 10].as_slice().chain(Broken), &mut file, &bar).unwrap_err(), "broken");
        assert_eq!((bar.position(), fs::metadata(&path).unwrap().len()), (300_010, 200_010));
    }

    #[test]
    fn only_the_hub_is_the_hub() {
        let mut options = HubOptions::from_env();
        options.endpoint = "https://hub.co".into();
        let transfer = Transfer::new(&options);
        let others =
            ["http://hub.co/x", "https://hub.co:444/x", "https://hub.co.uk/x", "https://hub.co@other.co/x", ""];
        assert!(["https://hub.co/x", "https://HUB.co:443"].iter().all(|url| transfer.is_hub(url)));
        assert!(others.iter().all(|url| !transfer.is_hub(url)));
    }
}
