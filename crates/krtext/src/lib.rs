//! C ABI over Hugging Face `tokenizers` and `minijinja`; the contract is in include/krtext.h.

pub mod detokenizer;
pub mod ffi;
pub mod python;
pub mod template;
pub mod tokenizer;

use std::fmt;

/// Status codes of the C ABI; keep in step with include/krtext.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    Ok = 0,
    InvalidArgument = 1,
    Io = 2,
    Parse = 3,
    Encode = 4,
    Decode = 5,
    Render = 6,
    Raised = 7,
    Panic = 8,
}

#[derive(Clone, Debug)]
pub struct Error {
    pub status: Status,
    pub message: String,
}

impl Error {
    pub fn new(status: Status, message: impl fmt::Display) -> Self {
        Error {
            status,
            message: message.to_string(),
        }
    }
}

pub type Result<T> = std::result::Result<T, Error>;
