//! The exported functions; their contract is in include/krtext.h.
#![allow(clippy::missing_safety_doc)] // the header says what callers owe

use crate::detokenizer::Detokenizer;
use crate::template::{Input, Template};
use crate::tokenizer::Tokenizer;
use crate::{Error, Result, Status};
use std::ffi::c_char;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::ptr;
use std::sync::Arc;

pub struct KrtextTokenizer(Arc<Tokenizer>);

#[repr(C)]
pub struct KrtextString {
    data: *mut c_char,
    bytes: usize,
}

#[repr(C)]
pub struct KrtextIds {
    data: *mut u32,
    count: usize,
}

#[repr(C)]
pub struct KrtextRenderInput {
    messages: *const c_char,
    messages_bytes: usize,
    tools: *const c_char,
    tools_bytes: usize,
    kwargs: *const c_char,
    kwargs_bytes: usize,
    bos_token: *const c_char,
    bos_token_bytes: usize,
    eos_token: *const c_char,
    eos_token_bytes: usize,
    add_generation_prompt: bool,
}

impl From<String> for KrtextString {
    fn from(text: String) -> Self {
        let (data, bytes) = into_raw(text.into_bytes());
        KrtextString {
            data: data.cast(),
            bytes,
        }
    }
}

fn into_raw<T>(items: Vec<T>) -> (*mut T, usize) {
    if items.is_empty() {
        return (ptr::null_mut(), 0);
    }
    let count = items.len();
    (Box::into_raw(items.into_boxed_slice()).cast(), count)
}

/// # Safety
/// `data` and `count` must come from `into_raw`.
unsafe fn drop_raw<T>(data: *mut T, count: usize) {
    if !data.is_null() {
        drop(Box::from_raw(ptr::slice_from_raw_parts_mut(data, count)));
    }
}

/// Runs `body`; whatever goes wrong becomes a status and a message.
unsafe fn guard(error: *mut KrtextString, body: impl FnOnce() -> Result<()>) -> Status {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return Status::Ok,
        Ok(Err(e)) => e,
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|s| s.to_string())
                .or_else(|| panic.downcast_ref::<String>().cloned());
            Error::new(Status::Panic, text.unwrap_or_else(|| "panic".to_string()))
        }
    };
    if !error.is_null() {
        error.write(failure.message.into());
    }
    failure.status
}

unsafe fn text<'a>(what: &str, data: *const c_char, bytes: usize) -> Result<&'a str> {
    if bytes == 0 {
        return Ok("");
    }
    if data.is_null() {
        return Err(null(what));
    }
    std::str::from_utf8(std::slice::from_raw_parts(data.cast(), bytes)).map_err(|e| {
        let message = format!("{what}: not UTF-8 at byte {} of {bytes}", e.valid_up_to());
        Error::new(Status::InvalidArgument, message)
    })
}

unsafe fn optional<'a>(what: &str, data: *const c_char, bytes: usize) -> Result<Option<&'a str>> {
    if data.is_null() {
        return Ok(None);
    }
    text(what, data, bytes).map(Some)
}

unsafe fn get<'a, T>(what: &str, pointer: *const T) -> Result<&'a T> {
    pointer.as_ref().ok_or_else(|| null(what))
}

unsafe fn put<T>(out: *mut T, value: T) -> Result<()> {
    if out.is_null() {
        return Err(null("out"));
    }
    out.write(value);
    Ok(())
}

fn null(what: &str) -> Error {
    Error::new(Status::InvalidArgument, format!("{what} is NULL"))
}

unsafe fn put_tokenizer(out: *mut *mut KrtextTokenizer, tokenizer: Tokenizer) -> Result<()> {
    if out.is_null() {
        return Err(null("out"));
    }
    put(
        out,
        Box::into_raw(Box::new(KrtextTokenizer(Arc::new(tokenizer)))),
    )
}

#[no_mangle]
pub unsafe extern "C" fn krtext_string_free(text: KrtextString) {
    drop_raw(text.data.cast::<u8>(), text.bytes);
}

#[no_mangle]
pub unsafe extern "C" fn krtext_ids_free(ids: KrtextIds) {
    drop_raw(ids.data, ids.count);
}

#[no_mangle]
pub unsafe extern "C" fn krtext_tokenizer_load_file(
    path: *const c_char,
    path_bytes: usize,
    out: *mut *mut KrtextTokenizer,
    error: *mut KrtextString,
) -> Status {
    guard(error, || {
        let path = text("path", path, path_bytes)?;
        put_tokenizer(out, Tokenizer::from_file(Path::new(path))?)
    })
}

#[no_mangle]
pub unsafe extern "C" fn krtext_tokenizer_load_memory(
    json: *const c_char,
    json_bytes: usize,
    out: *mut *mut KrtextTokenizer,
    error: *mut KrtextString,
) -> Status {
    guard(error, || {
        let json = text("tokenizer JSON", json, json_bytes)?;
        put_tokenizer(out, Tokenizer::from_bytes(json.as_bytes())?)
    })
}

#[no_mangle]
pub unsafe extern "C" fn krtext_tokenizer_free(tokenizer: *mut KrtextTokenizer) {
    if !tokenizer.is_null() {
        drop(Box::from_raw(tokenizer));
    }
}

#[no_mangle]
pub unsafe extern "C" fn krtext_tokenizer_encode(
    tokenizer: *const KrtextTokenizer,
    data: *const c_char,
    bytes: usize,
    add_special_tokens: bool,
    out: *mut KrtextIds,
    error: *mut KrtextString,
) -> Status {
    guard(error, || {
        let input = text("text", data, bytes)?;
        let ids = get("tokenizer", tokenizer)?
            .0
            .encode(input, add_special_tokens)?;
        let (data, count) = into_raw(ids);
        put(out, KrtextIds { data, count })
    })
}

#[no_mangle]
pub unsafe extern "C" fn krtext_tokenizer_decode(
    tokenizer: *const KrtextTokenizer,
    ids: *const u32,
    count: usize,
    skip_special_tokens: bool,
    out: *mut KrtextString,
    error: *mut KrtextString,
) -> Status {
    guard(error, || {
        let ids = match count {
            0 => &[],
            _ => std::slice::from_raw_parts(get("ids", ids)?, count),
        };
        let tokenizer = get("tokenizer", tokenizer)?;
        put(out, tokenizer.0.decode(ids, skip_special_tokens)?.into())
    })
}

#[no_mangle]
pub unsafe extern "C" fn krtext_tokenizer_token_to_id(
    tokenizer: *const KrtextTokenizer,
    token: *const c_char,
    token_bytes: usize,
    found: *mut bool,
    out: *mut u32,
    error: *mut KrtextString,
) -> Status {
    guard(error, || {
        let token = text("token", token, token_bytes)?;
        let id = get("tokenizer", tokenizer)?.0.token_to_id(token);
        put(found, id.is_some())?;
        id.map_or(Ok(()), |id| put(out, id))
    })
}

#[no_mangle]
pub unsafe extern "C" fn krtext_tokenizer_id_to_token(
    tokenizer: *const KrtextTokenizer,
    id: u32,
    found: *mut bool,
    out: *mut KrtextString,
    error: *mut KrtextString,
) -> Status {
    guard(error, || {
        let token = get("tokenizer", tokenizer)?.0.id_to_token(id);
        put(found, token.is_some())?;
        token.map_or(Ok(()), |token| put(out, token.into()))
    })
}

#[no_mangle]
pub unsafe extern "C" fn krtext_tokenizer_vocab_size(tokenizer: *const KrtextTokenizer) -> usize {
    catch_unwind(AssertUnwindSafe(|| {
        tokenizer.as_ref().map_or(0, |t| t.0.vocab_size())
    }))
    .unwrap_or(0)
}

#[no_mangle]
pub unsafe extern "C" fn krtext_detokenizer_new(
    tokenizer: *const KrtextTokenizer,
    skip_special_tokens: bool,
    out: *mut *mut Detokenizer,
    error: *mut KrtextString,
) -> Status {
    guard(error, || {
        let tokenizer = Arc::clone(&get("tokenizer", tokenizer)?.0);
        get("out", out)?;
        let detokenizer = Detokenizer::new(tokenizer, skip_special_tokens);
        put(out, Box::into_raw(Box::new(detokenizer)))
    })
}

#[no_mangle]
pub unsafe extern "C" fn krtext_detokenizer_free(detokenizer: *mut Detokenizer) {
    if !detokenizer.is_null() {
        drop(Box::from_raw(detokenizer));
    }
}

#[no_mangle]
pub unsafe extern "C" fn krtext_detokenizer_push(
    detokenizer: *mut Detokenizer,
    id: u32,
    out: *mut KrtextString,
    error: *mut KrtextString,
) -> Status {
    guard(error, || {
        let detokenizer = detokenizer.as_mut().ok_or_else(|| null("detokenizer"))?;
        put(out, detokenizer.push(id)?.into())
    })
}

#[no_mangle]
pub unsafe extern "C" fn krtext_detokenizer_finish(
    detokenizer: *mut Detokenizer,
    out: *mut KrtextString,
    error: *mut KrtextString,
) -> Status {
    guard(error, || {
        let detokenizer = detokenizer.as_mut().ok_or_else(|| null("detokenizer"))?;
        put(out, detokenizer.finish()?.into())
    })
}

#[no_mangle]
pub unsafe extern "C" fn krtext_template_compile(
    source: *const c_char,
    source_bytes: usize,
    out: *mut *mut Template,
    error: *mut KrtextString,
) -> Status {
    guard(error, || {
        let source = text("template", source, source_bytes)?;
        get("out", out)?;
        put(out, Box::into_raw(Box::new(Template::compile(source)?)))
    })
}

#[no_mangle]
pub unsafe extern "C" fn krtext_template_free(template: *mut Template) {
    if !template.is_null() {
        drop(Box::from_raw(template));
    }
}

#[no_mangle]
pub unsafe extern "C" fn krtext_template_render(
    template: *const Template,
    input: *const KrtextRenderInput,
    out: *mut KrtextString,
    error: *mut KrtextString,
) -> Status {
    guard(error, || {
        let raw = get("input", input)?;
        let input = Input {
            messages: text("messages", raw.messages, raw.messages_bytes)?,
            tools: optional("tools", raw.tools, raw.tools_bytes)?,
            kwargs: optional("kwargs", raw.kwargs, raw.kwargs_bytes)?,
            bos_token: optional("bos_token", raw.bos_token, raw.bos_token_bytes)?,
            eos_token: optional("eos_token", raw.eos_token, raw.eos_token_bytes)?,
            add_generation_prompt: raw.add_generation_prompt,
        };
        put(out, get("template", template)?.render(&input)?.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: KrtextString = KrtextString {
        data: ptr::null_mut(),
        bytes: 0,
    };

    fn failure(call: impl FnOnce(*mut KrtextString) -> Status) -> (Status, String) {
        let mut error = EMPTY;
        let status = call(&mut error);
        let message = unsafe { text("error", error.data, error.bytes) }.unwrap();
        let owned = message.to_string();
        unsafe { krtext_string_free(error) };
        (status, owned)
    }

    #[test]
    fn a_panic_becomes_a_status() {
        let (status, message) = failure(|error| unsafe { guard(error, || panic!("seven {}", 7)) });
        assert_eq!((status, message.as_str()), (Status::Panic, "seven 7"));
        assert_eq!(
            unsafe { guard(ptr::null_mut(), || panic!("no error wanted")) },
            Status::Panic
        );
    }

    #[test]
    fn null_and_bad_utf8_are_invalid_arguments() {
        let (status, message) = failure(|error| unsafe {
            krtext_tokenizer_load_memory(ptr::null(), 1, ptr::null_mut(), error)
        });
        assert_eq!(
            (status, message.as_str()),
            (Status::InvalidArgument, "tokenizer JSON is NULL")
        );
        let (status, message) = failure(|error| unsafe {
            krtext_template_compile(c"a\xff".as_ptr(), 2, ptr::null_mut(), error)
        });
        assert_eq!(status, Status::InvalidArgument);
        assert_eq!(message, "template: not UTF-8 at byte 1 of 2");
        let (status, _) = failure(|error| unsafe {
            krtext_template_compile(c"a".as_ptr(), 1, ptr::null_mut(), error)
        });
        assert_eq!(status, Status::InvalidArgument);
        assert_eq!(unsafe { krtext_tokenizer_vocab_size(ptr::null()) }, 0);
        unsafe {
            krtext_tokenizer_free(ptr::null_mut());
            krtext_detokenizer_free(ptr::null_mut());
            krtext_template_free(ptr::null_mut());
            krtext_string_free(EMPTY);
        }
    }

    #[test]
    fn text_crosses_the_boundary_and_is_freed() {
        let mut template = ptr::null_mut();
        let mut out = EMPTY;
        unsafe {
            let source = "{{ messages }}";
            let status = krtext_template_compile(
                source.as_ptr().cast(),
                source.len(),
                &mut template,
                ptr::null_mut(),
            );
            assert_eq!(status, Status::Ok);
            let mut input: KrtextRenderInput = std::mem::zeroed();
            input.messages = c"['x']".as_ptr();
            input.messages_bytes = 5;
            let (status, _) = failure(|e| krtext_template_render(template, &input, &mut out, e));
            assert_eq!(status, Status::Parse);
            input.messages = c"[\"x\"]".as_ptr();
            let (status, _) = failure(|e| krtext_template_render(template, &input, &mut out, e));
            assert_eq!(status, Status::Ok);
            assert_eq!(text("out", out.data, out.bytes).unwrap(), "['x']");
            krtext_string_free(out);
            krtext_template_free(template);
        }
    }
}
