//! A loaded tokenizer.json and the plan by which its tokens are turned back into text.

use crate::detokenizer::DecodePlan;
use crate::{Error, Result, Status};
use std::panic::catch_unwind;
use std::path::Path;

pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    plan: DecodePlan,
}

impl Tokenizer {
    pub fn from_file(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::new(Status::Io, e))?;
        Self::from_bytes(&bytes)
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        // First, because a file cut off makes the library's own reader panic in places.
        serde_json::from_slice::<serde::de::IgnoredAny>(bytes)
            .map_err(|e| Error::new(Status::Parse, e))?;
        let mut inner = catch_unwind(|| tokenizers::Tokenizer::from_bytes(bytes))
            .map_err(|_| Error::new(Status::Parse, "not a tokenizer description"))?
            .map_err(|e| Error::new(Status::Parse, e))?;
        // Training-time settings in the file must not cut or pad prompts.
        inner
            .with_truncation(None)
            .map_err(|e| Error::new(Status::Parse, e))?;
        inner.with_padding(None);
        let plan = DecodePlan::new(inner.get_decoder());
        Ok(Tokenizer { inner, plan })
    }

    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
        let encoding = self
            .inner
            .encode_fast(text, add_special_tokens)
            .map_err(|e| Error::new(Status::Encode, e))?;
        Ok(encoding.get_ids().to_vec())
    }

    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        self.inner
            .decode(ids, skip_special_tokens)
            .map_err(|e| Error::new(Status::Decode, e))
    }

    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    pub(crate) fn plan(&self) -> &DecodePlan {
        &self.plan
    }

    /// The token as the decoder gets it; None for unknown ids and for special ones to be skipped.
    pub(crate) fn decoder_token(&self, id: u32, skip_special_tokens: bool) -> Option<String> {
        let added = self.inner.get_added_vocabulary();
        added
            .simple_id_to_token(id)
            .or_else(|| self.inner.id_to_token(id))
            .filter(|token| !skip_special_tokens || !added.is_special_token(token))
    }

    pub(crate) fn decode_tokens(&self, tokens: Vec<String>) -> Result<String> {
        use tokenizers::Decoder;
        match self.inner.get_decoder() {
            Some(decoder) => decoder
                .decode(tokens)
                .map_err(|e| Error::new(Status::Decode, e)),
            None => Ok(tokens.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = r#"{"version": "1.0", "normalizer": null, "post_processor": null,
        "truncation": {"direction": "Right", "max_length": 2,
            "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "a"},
        "added_tokens": [{"id": 3, "content": "<|x|>", "special": true, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false}],
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\s+(?!\\S)|\\w+|\\s+"},
            "behavior": "Isolated", "invert": false},
        "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<|x|>": 3, " ": 4},
            "merges": [["a", "b"]]}}"#;

    #[test]
    fn encodes_without_the_truncation_and_padding_of_the_file() {
        let tokenizer = Tokenizer::from_bytes(SPEC.as_bytes()).unwrap();
        assert_eq!(
            tokenizer.encode("ab a<|x|>b", false).unwrap(),
            [2, 4, 0, 3, 1]
        );
        assert_eq!(tokenizer.decode(&[2, 4, 0, 3, 99], true).unwrap(), "ab a");
        assert_eq!(tokenizer.vocab_size(), 5);
        assert_eq!(tokenizer.token_to_id("<|x|>"), Some(3));
        assert_eq!(tokenizer.id_to_token(2).as_deref(), Some("ab"));
        assert_eq!(tokenizer.id_to_token(99), None);
    }

    #[test]
    fn every_truncation_of_the_file_is_an_error() {
        for bytes in 0..SPEC.len() {
            let error = Tokenizer::from_bytes(&SPEC.as_bytes()[..bytes])
                .err()
                .unwrap();
            assert_eq!(error.status, Status::Parse);
            assert!(!error.message.is_empty());
        }
    }

    #[test]
    fn a_missing_file_is_an_io_error() {
        let error = Tokenizer::from_file(Path::new("/nonexistent/tokenizer.json"))
            .err()
            .unwrap();
        assert_eq!(error.status, Status::Io);
    }
}
