//! The exported functions; their contract is in include/krhub.h.
#![allow(clippy::missing_safety_doc)] // the header says what callers owe

use crate::fetch::{fetch, Fetched};
use crate::{Error, Result};
use std::ffi::{c_char, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;

#[repr(i32)]
pub enum Status {
    Ok = 0,
    Failed = 1,
    Stopped = 2,
    Panic = 3,
}

#[repr(C)]
pub struct KrhubString {
    data: *mut c_char,
    bytes: usize,
}

type KrhubProgress = unsafe extern "C" fn(*mut c_void, f64, *const c_char, usize) -> bool;

impl From<String> for KrhubString {
    fn from(text: String) -> Self {
        let bytes = text.len();
        let data = match bytes {
            0 => ptr::null_mut(),
            _ => Box::into_raw(text.into_bytes().into_boxed_slice()).cast(),
        };
        KrhubString { data, bytes }
    }
}

#[no_mangle]
pub unsafe extern "C" fn krhub_string_free(text: KrhubString) {
    if !text.data.is_null() {
        let whole = ptr::slice_from_raw_parts_mut(text.data.cast::<u8>(), text.bytes);
        drop(Box::from_raw(whole));
    }
}

unsafe fn text<'a>(what: &str, data: *const c_char, bytes: usize) -> Result<&'a str> {
    if data.is_null() {
        return Err(Error::new(format!("{what} is NULL")));
    }
    std::str::from_utf8(std::slice::from_raw_parts(data.cast(), bytes))
        .map_err(|error| Error::new(format!("{what} is not UTF-8: {error}")))
}

#[no_mangle]
pub unsafe extern "C" fn krhub_fetch(
    repository: *const c_char,
    repository_bytes: usize,
    revision: *const c_char,
    revision_bytes: usize,
    progress: KrhubProgress,
    context: *mut c_void,
    path: *mut KrhubString,
    note: *mut KrhubString,
    error: *mut KrhubString,
) -> Status {
    let body = || -> Result<Fetched> {
        let id = text("repository", repository, repository_bytes)?;
        let revision = text("revision", revision, revision_bytes)?;
        let mut tell = |fraction: f64, what: &str| {
            progress(context, fraction, what.as_ptr().cast(), what.len())
        };
        fetch(id, revision, &mut tell)
    };
    let (status, texts) = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(found)) => {
            let path = found.path.to_string_lossy().into_owned();
            (Status::Ok, [path, found.note, String::new()])
        }
        Ok(Err(Error::Stopped)) => (Status::Stopped, Default::default()),
        Ok(Err(failure)) => {
            (Status::Failed, [String::new(), String::new(), failure.to_string()])
        }
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().map(|s| s.to_string());
            let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
            let message = said.unwrap_or_else(|| "panic".to_string());
            (Status::Panic, [String::new(), String::new(), message])
        }
    };
    let [found, said, failure] = texts;
    path.write(found.into());
    note.write(said.into());
    error.write(failure.into());
    status
}
