//! Models of the Hugging Face hub, fetched into its cache; the contract is in include/krhub.h.

pub mod cache;
pub mod download;
pub mod fetch;
pub mod ffi;
pub mod http;
pub mod repository;
pub mod settings;

use std::fmt;
use std::time::Duration;

/// What another attempt might change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    Never,
    /// After a pause that grows.
    Later,
    /// Not before this has passed: the server said so.
    After(Duration),
}

#[derive(Clone, Debug)]
pub enum Error {
    Failed { message: String, retry: Retry },
    /// The progress function said so.
    Stopped,
}

impl Error {
    pub fn new(message: impl fmt::Display) -> Self {
        Error::Failed {
            message: message.to_string(),
            retry: Retry::Never,
        }
    }

    pub fn passing(message: impl fmt::Display) -> Self {
        Error::Failed {
            message: message.to_string(),
            retry: Retry::Later,
        }
    }

    pub fn retry(&self) -> Retry {
        match self {
            Error::Failed { retry, .. } => *retry,
            Error::Stopped => Retry::Never,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Failed { message, .. } => out.write_str(message),
            Error::Stopped => out.write_str("stopped"),
        }
    }
}

pub type Result<T> = std::result::Result<T, Error>;

/// Told how far things are; false stops.
pub type Progress<'a> = dyn FnMut(f64, &str) -> bool + 'a;
