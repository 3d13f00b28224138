//! What the hub says of a revision, and which of its files a model needs.

use crate::http::{header, quote, Attempts, Client, Method};
use crate::{Error, Progress, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use ureq::http::Response;
use ureq::Body;

pub const SINGLE: &str = "model.safetensors";
pub const INDEX: &str = "model.safetensors.index.json";

/// How a file's content is checked; also the name that its blob has in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    Sha256(String),
    /// git's SHA-1 of a blob: of "blob SIZE\0" and the content.
    Git(String),
}

impl Checksum {
    pub fn hex(&self) -> &str {
        match self {
            Checksum::Sha256(hex) | Checksum::Git(hex) => hex,
        }
    }

    fn parse(etag: &str) -> Option<Checksum> {
        let hex = etag.trim().trim_start_matches("W/").trim_matches('"');
        let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match hex.len() {
            64 if is_hex => Some(Checksum::Sha256(hex.to_string())),
            40 if is_hex => Some(Checksum::Git(hex.to_string())),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Remote {
    pub name: String,
    pub bytes: Option<u64>,
    pub checksum: Option<Checksum>,
}

pub struct Revision {
    pub commit: String,
    pub files: Vec<Remote>,
}

pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn remote(sibling: &Value) -> Option<Remote> {
    let name = sibling["rfilename"].as_str()?.to_string();
    let lfs = &sibling["lfs"];
    let large = lfs["sha256"].as_str().or_else(|| lfs["oid"].as_str());
    let checksum = match large {
        Some(hex) => Checksum::parse(hex),
        None => sibling["blobId"].as_str().and_then(Checksum::parse),
    };
    let bytes = lfs["size"].as_u64().or_else(|| sibling["size"].as_u64());
    Some(Remote {
        name,
        bytes,
        checksum,
    })
}

fn text_of(response: &mut Response<Body>, what: &str) -> Result<String> {
    let limited = response.body_mut().with_config().limit(64 << 20);
    limited
        .read_to_string()
        .map_err(|error| Error::passing(format!("{what}: the answer broke off: {error}")))
}

fn describe_once(client: &Client, id: &str, revision: &str) -> Result<Revision> {
    let what = format!("{id}@{revision}");
    let url = format!(
        "{}/api/models/{id}/revision/{}?blobs=true",
        client.endpoint(),
        quote(revision)
    );
    let mut response = client.request(Method::Get, &url, 0, &what)?;
    let text = text_of(&mut response, &what)?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| Error::new(format!("{what}: {url} does not answer with JSON: {error}")))?;
    let commit = value["sha"].as_str().filter(|sha| is_commit(sha));
    let files = value["siblings"].as_array();
    match (commit, files) {
        (Some(commit), Some(files)) => Ok(Revision {
            commit: commit.to_string(),
            files: files.iter().filter_map(remote).collect(),
        }),
        _ => {
            let message = format!("{what}: {url} does not answer as the hub does (sha, siblings)");
            Err(Error::new(message))
        }
    }
}

pub fn describe(
    client: &Client,
    id: &str,
    revision: &str,
    mut attempts: Attempts,
    progress: &mut Progress,
) -> Result<Revision> {
    loop {
        match describe_once(client, id, revision) {
            Ok(found) => return Ok(found),
            Err(failure) => attempts.again(failure, 0.0, progress)?,
        }
    }
}

pub fn address(client: &Client, id: &str, commit: &str, name: &str) -> String {
    let path: Vec<String> = name.split('/').map(quote).collect();
    let endpoint = client.endpoint();
    format!("{endpoint}/{id}/resolve/{commit}/{}", path.join("/"))
}

/// Size and checksum from a file's own headers, where the list of files did not have them.
pub fn look_up(client: &Client, url: &str, file: &Remote) -> Result<(u64, Checksum)> {
    if let (Some(bytes), Some(checksum)) = (file.bytes, &file.checksum) {
        return Ok((bytes, checksum.clone()));
    }
    let response = client.request(Method::Head, url, 0, &file.name)?;
    let first = |names: [&str; 2]| names.iter().find_map(|name| header(&response, name));
    let bytes = first(["x-linked-size", "content-length"]).and_then(|text| text.trim().parse().ok());
    let checksum = first(["x-linked-etag", "etag"]).and_then(Checksum::parse);
    match (file.bytes.or(bytes), checksum) {
        (Some(bytes), Some(checksum)) => Ok((bytes, checksum)),
        _ => Err(Error::new(format!(
            "{}: {} tells no size or no checksum of it; use another HF_ENDPOINT",
            file.name,
            client.endpoint()
        ))),
    }
}

/// Configuration, tokenizer, chat template, and the index of the weights.
fn is_small(name: &str) -> bool {
    let tokenizer = name.starts_with("tokenizer") && !name.ends_with(".md");
    let exact = [
        "config.json",
        "generation_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        INDEX,
    ];
    !name.contains('/') && (tokenizer || name.starts_with("chat_template") || exact.contains(&name))
}

/// What is needed besides the weights; the index only where there is no single file.
pub fn small_files(files: &[Remote]) -> Vec<Remote> {
    let single = files.iter().any(|file| file.name == SINGLE);
    let wanted = |file: &&Remote| is_small(&file.name) && !(single && file.name == INDEX);
    files.iter().filter(wanted).cloned().collect()
}

/// The shards that an index names, each once.
pub fn shards(index: &Path) -> Result<BTreeSet<String>> {
    let failed = |what: &str| Error::new(format!("{}: {what}", index.display()));
    let text = std::fs::read_to_string(index).map_err(|e| failed(&e.to_string()))?;
    let value: Value = serde_json::from_str(&text).map_err(|e| failed(&e.to_string()))?;
    let map = value["weight_map"].as_object();
    let names: Option<BTreeSet<String>> = map
        .filter(|map| !map.is_empty())
        .and_then(|map| map.values().map(|name| name.as_str().map(String::from)).collect());
    let names = names.ok_or_else(|| failed("weight_map names no files"))?;
    match names.iter().find(|name| name.contains('/') || name.starts_with('.')) {
        Some(name) => Err(failed(&format!("names '{name}' outside the model's folder"))),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Remote {
        Remote {
            name: name.to_string(),
            bytes: Some(1),
            checksum: None,
        }
    }

    #[test]
    fn only_what_a_model_needs_is_chosen() {
        let names = [
            ".gitattributes", "README.md", "config.json", "tokenizer.json", "tokenizer_config.json",
            "chat_template.jinja", "original/config.json", "pytorch_model.bin", INDEX, "model.gguf",
        ];
        let files: Vec<Remote> = names.iter().map(|name| named(name)).collect();
        let chosen: Vec<String> = small_files(&files).into_iter().map(|f| f.name).collect();
        let expected = [
            "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", INDEX,
        ];
        assert_eq!(chosen, expected);
    }

    #[test]
    fn a_single_file_needs_no_index() {
        let chosen = small_files(&[named(SINGLE), named(INDEX)]);
        assert!(chosen.is_empty());
    }

    #[test]
    fn checksums_are_told_apart_by_their_length() {
        let sha256 = "a".repeat(64);
        let git = "0".repeat(40);
        assert_eq!(Checksum::parse(&format!("\"{sha256}\"")), Some(Checksum::Sha256(sha256)));
        assert_eq!(Checksum::parse(&format!("W/\"{git}\"")), Some(Checksum::Git(git)));
        assert_eq!(Checksum::parse("\"../../x\""), None);
        assert_eq!(Checksum::parse("deadbeef-12"), None);
    }
}
