//! Incremental detokenization with constant work per token.
//!
//! Decoders of byte-level BPE and of sentencepiece-style tokenizers are streamable: what a token
//! adds depends on a few bytes of state. `DecodePlan` recognizes them. Any other decoder is run over
//! a bounded window of recent tokens; `tokenizers::DecodeStream` does that without the bound.

use crate::tokenizer::Tokenizer;
use crate::{Error, Result, Status};
use std::sync::Arc;
use tokenizers::{Decoder, DecoderWrapper};

/// Tokens that the window may hold back while the text ends in an incomplete character.
const MAX_HELD_TOKENS: usize = 16;

/// How one tokenizer's decoder is streamed.
pub enum DecodePlan {
    /// Each character of a token stands for one byte of the text.
    ByteLevel(Tail),
    /// Each token is text, transformed by itself, possibly with `<0xNN>` byte tokens between.
    Pieces(Pieces, Tail),
    /// Anything else.
    Window,
}

#[derive(Default)]
pub struct Pieces {
    maps: Vec<DecoderWrapper>,
    /// The first token's metaspaces vanish if true.
    metaspace: Option<(char, bool)>,
    byte_fallback: bool,
    /// A tokenizer without a decoder joins its tokens with spaces.
    join_with_space: bool,
}

/// What happens to the beginning of the whole text: up to `strip_max` of `strip_char` are cut.
#[derive(Default)]
pub struct Tail {
    strip_char: char,
    strip_max: usize,
}

impl DecodePlan {
    pub fn new(decoder: Option<&DecoderWrapper>) -> Self {
        let Some(decoder) = decoder else {
            let pieces = Pieces {
                join_with_space: true,
                ..Pieces::default()
            };
            return DecodePlan::Pieces(pieces, Tail::default());
        };
        let mut steps = Vec::new();
        flatten(decoder, &mut steps);
        Self::recognize(&steps).unwrap_or(DecodePlan::Window)
    }

    fn recognize(steps: &[&DecoderWrapper]) -> Option<Self> {
        if let Some(DecoderWrapper::ByteLevel(_)) = steps.first() {
            // Its output is one string already, so what follows sees the whole text.
            return Some(DecodePlan::ByteLevel(Tail::recognize(&steps[1..])?));
        }
        let mut pieces = Pieces::default();
        for (index, step) in steps.iter().enumerate() {
            match step {
                DecoderWrapper::Replace(_) if !pieces.byte_fallback => {
                    pieces.maps.push((*step).clone());
                }
                DecoderWrapper::Metaspace(m) if index == 0 => {
                    let drop_first = m.prepend_scheme
                        != tokenizers::pre_tokenizers::metaspace::PrependScheme::Never;
                    pieces.metaspace = Some((m.get_replacement(), drop_first));
                }
                DecoderWrapper::ByteFallback(_) if !pieces.byte_fallback => {
                    pieces.byte_fallback = true;
                }
                DecoderWrapper::Fuse(_) => {
                    let tail = Tail::recognize(&steps[index + 1..])?;
                    return Some(DecodePlan::Pieces(pieces, tail));
                }
                _ => return None,
            }
        }
        Some(DecodePlan::Pieces(pieces, Tail::default()))
    }
}

impl Tail {
    /// None if a step does more than cut the beginning.
    fn recognize(steps: &[&DecoderWrapper]) -> Option<Self> {
        let mut tail = Tail::default();
        for step in steps {
            match step {
                DecoderWrapper::Fuse(_) => {}
                DecoderWrapper::Strip(s) if s.stop == 0 && tail.strip_max == 0 => {
                    tail.strip_char = s.content;
                    tail.strip_max = s.start;
                }
                _ => return None,
            }
        }
        Some(tail)
    }
}

fn flatten<'a>(decoder: &'a DecoderWrapper, out: &mut Vec<&'a DecoderWrapper>) {
    match decoder {
        DecoderWrapper::Sequence(s) => s.get_decoders().iter().for_each(|d| flatten(d, out)),
        other => out.push(other),
    }
}

/// Turns token ids into text as they come. Equal to `Tokenizer::decode` over all ids, but for one
/// case: a run of `<0xNN>` tokens that is only partly valid UTF-8 loses just its invalid bytes
/// here, whereas `decode`, which sees the run as a whole, replaces all of it.
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    skip_special_tokens: bool,
    /// Bytes of a character that is not complete; at most three between calls.
    pending: Vec<u8>,
    first_token: bool,
    stripped: usize,
    strip_open: bool,
    window: Window,
}

/// Recent tokens: [0, read) have been printed as `printed`, the rest is held back.
#[derive(Default)]
struct Window {
    tokens: Vec<String>,
    read: usize,
    printed: String,
}

impl Detokenizer {
    pub fn new(tokenizer: Arc<Tokenizer>, skip_special_tokens: bool) -> Self {
        Detokenizer {
            tokenizer,
            skip_special_tokens,
            pending: Vec::new(),
            first_token: true,
            stripped: 0,
            strip_open: true,
            window: Window::default(),
        }
    }

    pub fn push(&mut self, id: u32) -> Result<String> {
        let tokenizer = Arc::clone(&self.tokenizer);
        let Some(token) = tokenizer.decoder_token(id, self.skip_special_tokens) else {
            return Ok(String::new());
        };
        let mut out = String::new();
        match tokenizer.plan() {
            DecodePlan::ByteLevel(tail) => {
                append_byte_level(&token, &mut self.pending);
                drain_utf8(&mut self.pending, &mut out);
                Ok(self.strip(out, tail))
            }
            DecodePlan::Pieces(pieces, tail) => {
                self.push_piece(token, pieces, &mut out)?;
                Ok(self.strip(out, tail))
            }
            DecodePlan::Window => self.push_window(token),
        }
    }

    pub fn finish(&mut self) -> Result<String> {
        let tokenizer = Arc::clone(&self.tokenizer);
        let mut out = String::new();
        let text = match tokenizer.plan() {
            DecodePlan::ByteLevel(tail) => {
                if !self.pending.is_empty() {
                    out.push(char::REPLACEMENT_CHARACTER);
                }
                self.strip(out, tail)
            }
            DecodePlan::Pieces(_, tail) => {
                self.flush_fallback(&mut out);
                self.strip(out, tail)
            }
            DecodePlan::Window => self.emit_window()?,
        };
        *self = Detokenizer::new(tokenizer, self.skip_special_tokens);
        Ok(text)
    }

    fn push_piece(&mut self, token: String, pieces: &Pieces, out: &mut String) -> Result<()> {
        let first = std::mem::replace(&mut self.first_token, false);
        if pieces.join_with_space && !first {
            out.push(' ');
        }
        let mut text = match pieces.metaspace {
            Some((mark, drop_first)) if first && drop_first => token.replace(mark, ""),
            Some((mark, _)) => token.replace(mark, " "),
            None => token,
        };
        for map in &pieces.maps {
            text = map
                .decode_chain(vec![text])
                .map_err(|e| Error::new(Status::Decode, e))?
                .concat();
        }
        match fallback_byte(&text).filter(|_| pieces.byte_fallback) {
            Some(byte) => {
                self.pending.push(byte);
                self.drain_fallback(out);
            }
            None => {
                self.flush_fallback(out);
                out.push_str(&text);
            }
        }
        Ok(())
    }

    /// As drain_utf8, but one U+FFFD for each invalid byte: that is what ByteFallback prints.
    fn drain_fallback(&mut self, out: &mut String) {
        while !self.pending.is_empty() {
            match std::str::from_utf8(&self.pending) {
                Ok(text) => {
                    out.push_str(text);
                    self.pending.clear();
                }
                Err(e) if e.error_len().is_some() => {
                    let bad = e.error_len().unwrap_or(1);
                    out.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, bad));
                    self.pending.drain(..bad);
                }
                Err(_) => return,
            }
        }
    }

    fn flush_fallback(&mut self, out: &mut String) {
        out.extend(self.pending.drain(..).map(|_| char::REPLACEMENT_CHARACTER));
    }

    fn strip(&mut self, text: String, tail: &Tail) -> String {
        if !self.strip_open || text.is_empty() {
            return text;
        }
        let mut rest = text.as_str();
        while self.stripped < tail.strip_max && rest.starts_with(tail.strip_char) {
            rest = &rest[tail.strip_char.len_utf8()..];
            self.stripped += 1;
        }
        self.strip_open = rest.is_empty() && self.stripped < tail.strip_max;
        rest.to_string()
    }

    fn push_window(&mut self, token: String) -> Result<String> {
        self.window.tokens.push(token);
        let held = self.window.tokens.len() - self.window.read;
        let text = self.tokenizer.decode_tokens(self.window.tokens.clone())?;
        if text.ends_with(char::REPLACEMENT_CHARACTER) && held < MAX_HELD_TOKENS {
            return Ok(String::new());
        }
        self.emit_window()
    }

    /// Prints what is held and keeps the tokens just printed as context for the next ones.
    fn emit_window(&mut self) -> Result<String> {
        let text = self.tokenizer.decode_tokens(self.window.tokens.clone())?;
        let common = common_prefix(&text, &self.window.printed);
        let new_text = text[common..].to_string();
        self.window.tokens.drain(..self.window.read);
        self.window.read = self.window.tokens.len();
        self.window.printed = self.tokenizer.decode_tokens(self.window.tokens.clone())?;
        Ok(new_text)
    }
}

fn common_prefix(a: &str, b: &str) -> usize {
    a.chars()
        .zip(b.chars())
        .take_while(|(x, y)| x == y)
        .map(|(x, _)| x.len_utf8())
        .sum()
}

/// The value of a `<0xNN>` token.
fn fallback_byte(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if hex.len() != 2 {
        return None;
    }
    u8::from_str_radix(hex, 16).ok()
}

/// Appends the bytes that a byte-level token stands for; a token with any other character (an added
/// token with a space, say) stands for itself.
fn append_byte_level(token: &str, out: &mut Vec<u8>) {
    let start = out.len();
    for c in token.chars() {
        match byte_of_char(c) {
            Some(byte) => out.push(byte),
            None => {
                out.truncate(start);
                out.extend_from_slice(token.as_bytes());
                return;
            }
        }
    }
}

/// GPT-2's table: printable Latin-1 characters are their own byte, the 68 others start at U+0100.
fn byte_of_char(c: char) -> Option<u8> {
    match c as u32 {
        c @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => Some(c as u8),
        c @ 0x100..=0x120 => Some((c - 0x100) as u8),
        c @ 0x121..=0x142 => Some((c - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// Moves what is decided from `pending` to `out`, with U+FFFD as String::from_utf8_lossy sets it.
fn drain_utf8(pending: &mut Vec<u8>, out: &mut String) {
    let mut done = 0;
    while done < pending.len() {
        match std::str::from_utf8(&pending[done..]) {
            Ok(text) => {
                out.push_str(text);
                done = pending.len();
            }
            Err(e) => {
                let valid = done + e.valid_up_to();
                out.push_str(&String::from_utf8_lossy(&pending[done..valid]));
                done = valid;
                match e.error_len() {
                    Some(bad) => {
                        out.push(char::REPLACEMENT_CHARACTER);
                        done += bad;
                    }
                    None => break,
                }
            }
        }
    }
    pending.drain(..done);
}

#[cfg(test)]
#[path = "detokenizer_tests.rs"]
mod tests;
