//! The environment variables of huggingface_hub, with their meaning there.

use crate::{Error, Result};
use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

pub struct Settings {
    /// Without a slash at its end.
    pub endpoint: String,
    pub cache: PathBuf,
    pub offline: bool,
    pub token: Option<String>,
    /// How long a connection may stay silent.
    pub silence: Duration,
    /// PEM file with the certificates to trust instead of Mozilla's.
    pub roots: Option<PathBuf>,
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

fn is_set(name: &str) -> bool {
    let value = variable(name).unwrap_or_default().to_uppercase();
    matches!(value.as_str(), "1" | "ON" | "YES" | "TRUE")
}

fn path(value: String) -> PathBuf {
    match (value.strip_prefix("~/"), variable("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(value),
    }
}

fn home() -> Result<PathBuf> {
    if let Some(value) = variable("HF_HOME") {
        return Ok(path(value));
    }
    let base = match (variable("XDG_CACHE_HOME"), variable("HOME")) {
        (Some(cache), _) => path(cache),
        (None, Some(home)) => PathBuf::from(home).join(".cache"),
        (None, None) => {
            return Err(Error::new(
                "there is no place for the cache: set HF_HOME (or HF_HUB_CACHE) to a directory",
            ))
        }
    };
    Ok(base.join("huggingface"))
}

fn token(home: &std::path::Path) -> Option<String> {
    if is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
        return None;
    }
    let stored = || {
        let file = variable("HF_TOKEN_PATH").map_or_else(|| home.join("token"), path);
        fs::read_to_string(file).ok()
    };
    let token = variable("HF_TOKEN")
        .or_else(|| variable("HUGGING_FACE_HUB_TOKEN"))
        .or_else(stored)?;
    let token = token.trim();
    (!token.is_empty()).then(|| token.to_string())
}

impl Settings {
    pub fn from_environment() -> Result<Settings> {
        let home = home()?;
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_string());
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            let message = format!("HF_ENDPOINT is '{endpoint}'; it must start with https:// or http://");
            return Err(Error::new(message));
        }
        let silence = variable("HF_HUB_DOWNLOAD_TIMEOUT")
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(20u64);
        Ok(Settings {
            endpoint: endpoint.trim_end_matches('/').to_string(),
            cache: variable("HF_HUB_CACHE")
                .or_else(|| variable("HUGGINGFACE_HUB_CACHE"))
                .map_or_else(|| home.join("hub"), path),
            offline: is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE"),
            token: token(&home),
            silence: Duration::from_secs(silence.max(1)),
            roots: variable("SSL_CERT_FILE").map(path),
        })
    }
}
