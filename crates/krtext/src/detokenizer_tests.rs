use super::*;
use serde_json::json;

/// Deterministic numbers for the random sequences (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % u64::from(limit)) as u32
    }
}

fn char_of_byte(byte: u8) -> char {
    (0..0x144)
        .filter_map(char::from_u32)
        .find(|c| byte_of_char(*c) == Some(byte))
        .unwrap()
}

fn load(model: serde_json::Value, decoder: serde_json::Value) -> Arc<Tokenizer> {
    let spec = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "pre_tokenizer": null, "post_processor": null,
        "added_tokens": [{"id": 1000, "content": "<|end|>", "special": true, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false},
            {"id": 1001, "content": "two words", "special": false, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false}],
        "decoder": decoder, "model": model,
    });
    Arc::new(Tokenizer::from_bytes(spec.to_string().as_bytes()).unwrap())
}

fn bpe(tokens: impl Iterator<Item = String>) -> serde_json::Value {
    let mut vocab: serde_json::Map<_, _> = tokens.enumerate().map(|(i, t)| (t, json!(i))).collect();
    vocab.insert("<|end|>".to_string(), json!(1000));
    vocab.insert("two words".to_string(), json!(1001));
    json!({"type": "BPE", "vocab": vocab, "merges": []})
}

/// Ids 0..256 are the bytes.
fn byte_level() -> Arc<Tokenizer> {
    let model = bpe((0..=255).map(|b| char_of_byte(b).to_string()));
    let decoder = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
        "use_regex": true});
    let tokenizer = load(model, decoder);
    assert!(matches!(tokenizer.plan(), DecodePlan::ByteLevel(_)));
    tokenizer
}

/// Ids 0..256 are the byte tokens, then come some words.
fn llama() -> Arc<Tokenizer> {
    let words = ["▁Hello", "▁world", "▁", "ing", "▁▁", "é", "<0xZZ>"];
    let tokens = (0..=255)
        .map(|b| format!("<0x{b:02X}>"))
        .chain(words.map(String::from));
    let decoder = json!({"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]});
    let tokenizer = load(bpe(tokens), decoder);
    assert!(matches!(tokenizer.plan(), DecodePlan::Pieces(..)));
    tokenizer
}

fn pieces(tokenizer: &Arc<Tokenizer>, ids: &[u32], skip: bool) -> Vec<String> {
    let mut detokenizer = Detokenizer::new(Arc::clone(tokenizer), skip);
    let mut out: Vec<String> = ids
        .iter()
        .map(|id| detokenizer.push(*id).unwrap())
        .collect();
    out.push(detokenizer.finish().unwrap());
    out
}

fn assert_streams_as_decoded(tokenizer: &Arc<Tokenizer>, ids: &[u32]) {
    for skip in [false, true] {
        let streamed = pieces(tokenizer, ids, skip).concat();
        assert_eq!(streamed, tokenizer.decode(ids, skip).unwrap());
    }
}

#[test]
fn byte_table_is_the_one_of_gpt2() {
    let mut seen: Vec<u8> = (0..0x200u32)
        .filter_map(char::from_u32)
        .filter_map(byte_of_char)
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
    assert_eq!(byte_of_char('Ġ'), Some(b' '));
    assert_eq!(byte_of_char('Ċ'), Some(b'\n'));
}

#[test]
fn byte_level_holds_back_incomplete_characters_only() {
    let ids: Vec<u32> = "a👋b".bytes().map(u32::from).collect();
    assert_eq!(
        pieces(&byte_level(), &ids, false),
        ["a", "", "", "", "👋", "b", ""]
    );
    assert_eq!(
        pieces(&byte_level(), &ids[..3], false),
        ["a", "", "", "\u{FFFD}"]
    );
}

#[test]
fn byte_level_equals_decode_on_any_bytes() {
    let tokenizer = byte_level();
    let mut random = Random(1);
    let noise: Vec<u32> = (0..10_000).map(|_| random.below(256)).collect();
    assert_streams_as_decoded(&tokenizer, &noise);
    // Mostly continuation and lead bytes, special tokens and unknown ids between.
    let hard: Vec<u32> = (0..10_000)
        .map(|_| match random.below(20) {
            0 => 1000,
            1 => 1001,
            2 => 5000,
            _ => 0x80 + random.below(128),
        })
        .collect();
    assert_streams_as_decoded(&tokenizer, &hard);
}

#[test]
fn special_tokens_are_skipped_on_request_only() {
    let ids = [u32::from(b'a'), 1000, 1001, u32::from(b'b')];
    assert_eq!(pieces(&byte_level(), &ids, true).concat(), "atwo wordsb");
    assert_eq!(
        pieces(&byte_level(), &ids, false).concat(),
        "a<|end|>two wordsb"
    );
}

#[test]
fn llama_strips_the_first_space_only() {
    let tokenizer = llama();
    assert_eq!(
        pieces(&tokenizer, &[256, 257, 259], false),
        ["Hello", " world", "ing", ""]
    );
    assert_eq!(pieces(&tokenizer, &[258, 257], false), ["", " world", ""]);
    // A space that comes as a byte token counts as well.
    assert_eq!(
        pieces(&tokenizer, &[0x20, 0x20, 0x41], false).concat(),
        " A"
    );
}

#[test]
fn llama_prints_byte_tokens_when_their_character_is_complete() {
    let ids = [0xF0, 0x9F, 0x91, 0x8B, 256];
    assert_eq!(
        pieces(&llama(), &ids, false),
        ["", "", "", "👋", " Hello", ""]
    );
    assert_eq!(
        pieces(&llama(), &[0xF0, 0x9F, 256], false).concat(),
        "\u{FFFD}\u{FFFD} Hello"
    );
    assert_eq!(
        pieces(&llama(), &[0xF0, 0x9F], false).concat(),
        "\u{FFFD}\u{FFFD}"
    );
}

#[test]
fn llama_partly_valid_run_loses_only_its_invalid_bytes() {
    let ids = [0xC3, 0xA9, 0xFF];
    assert_eq!(pieces(&llama(), &ids, false).concat(), "é\u{FFFD}");
    assert_eq!(llama().decode(&ids, false).unwrap(), "\u{FFFD}".repeat(3));
}

#[test]
fn llama_equals_decode_on_valid_text() {
    let mut random = Random(2);
    let mut ids = Vec::new();
    while ids.len() < 10_000 {
        match random.below(6) {
            0 => ids.extend("👋🏽é你".bytes().map(u32::from)),
            1 => ids.push(1000 + random.below(3)),
            _ => ids.push(256 + random.below(7)),
        }
    }
    assert_streams_as_decoded(&llama(), &ids);
}

#[test]
fn metaspace_drops_the_mark_of_the_first_token() {
    let tokens = ["▁Hey", "▁you", "▁"].map(String::from);
    for (scheme, first) in [("always", "Hey"), ("first", "Hey"), ("never", " Hey")] {
        let decoder = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme,
            "split": true});
        let tokenizer = load(bpe(tokens.clone().into_iter()), decoder);
        assert!(matches!(tokenizer.plan(), DecodePlan::Pieces(..)));
        assert_eq!(pieces(&tokenizer, &[0, 1], false), [first, " you", ""]);
        assert_streams_as_decoded(&tokenizer, &[1000, 0, 2, 2, 1, 1000, 1]);
    }
}

#[test]
fn no_decoder_joins_with_spaces() {
    let tokenizer = load(bpe(["a", "b"].map(String::from).into_iter()), json!(null));
    assert_eq!(pieces(&tokenizer, &[0, 1, 0], false), ["a", " b", " a", ""]);
    assert_streams_as_decoded(&tokenizer, &[1000, 0, 1, 1000, 1]);
}

#[test]
fn other_decoders_run_over_a_bounded_window() {
    let model = json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {"[UNK]": 0, "play": 1, "##ing": 2, "now": 3, "<|end|>": 1000,
            "two words": 1001}});
    let decoder = json!({"type": "WordPiece", "prefix": "##", "cleanup": false});
    let tokenizer = load(model, decoder);
    assert!(matches!(tokenizer.plan(), DecodePlan::Window));
    assert_eq!(
        pieces(&tokenizer, &[1, 2, 3], false),
        ["play", "ing", " now", ""]
    );
    let mut random = Random(3);
    let ids: Vec<u32> = (0..10_000).map(|_| 1 + random.below(3)).collect();
    assert_streams_as_decoded(&tokenizer, &ids);
}

#[test]
fn window_does_not_grow_on_text_that_never_completes() {
    let decoder = json!({"type": "Sequence", "decoders": [
        {"type": "ByteFallback"}, {"type": "Strip", "content": " ", "start": 0, "stop": 0},
        {"type": "Fuse"}]});
    let tokenizer = load(bpe((0..=255).map(|b| format!("<0x{b:02X}>"))), decoder);
    assert!(matches!(tokenizer.plan(), DecodePlan::Window));
    let mut detokenizer = Detokenizer::new(Arc::clone(&tokenizer), false);
    let mut text = String::new();
    for _ in 0..1000 {
        text.push_str(&detokenizer.push(0xFF).unwrap());
        assert!(detokenizer.window.tokens.len() <= 2 * MAX_HELD_TOKENS);
    }
    text.push_str(&detokenizer.finish().unwrap());
    assert_eq!(text, "\u{FFFD}".repeat(1000));
}

#[test]
fn finish_starts_afresh() {
    let mut detokenizer = Detokenizer::new(llama(), false);
    for _ in 0..2 {
        assert_eq!(detokenizer.push(256).unwrap(), "Hello");
        assert_eq!(detokenizer.finish().unwrap(), "");
    }
}
