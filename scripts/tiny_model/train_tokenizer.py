"""Trains the byte-level BPE tokenizer of models/tiny and writes its Hugging Face files."""

import argparse
import json
import pathlib
import random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import dialogs
import words as w

# Qwen2's pre-tokenization: every digit stands alone, which is what sums need.
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIALS = [dialogs.END_OF_TEXT, dialogs.IM_START, dialogs.IM_END]
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}")


def corpus(seed, units):
    """Message texts; pseudo-words are left to the base alphabet and the merges of real words."""
    rng = random.Random(seed)
    for _ in range(units):
        for user, assistant in dialogs.draw_unit(rng).turns:
            yield "user\n" + user
            yield "assistant\n" + assistant
    for _ in range(units // 20):
        yield "system\n" + rng.choice(dialogs.SYSTEM_PROMPTS)
    for word in w.WORDS + w.NAMES + w.CITIES:
        for _ in range(units // 500):
            yield f"{word} {word}"


def train(vocab_size, seed, units):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=SPECIALS, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus(seed, units), trainer)
    return tokenizer


def tokenizer_config(max_length):
    return {
        "added_tokens_decoder": {
            str(i): {"content": text, "lstrip": False, "normalized": False, "rstrip": False,
                     "single_word": False, "special": True} for i, text in enumerate(SPECIALS)},
        "add_bos_token": False, "add_prefix_space": False, "bos_token": None,
        "chat_template": CHAT_TEMPLATE, "clean_up_tokenization_spaces": False,
        "eos_token": dialogs.IM_END, "errors": "replace", "model_max_length": max_length,
        "pad_token": dialogs.END_OF_TEXT, "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer", "unk_token": None}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default="models/tiny")
    parser.add_argument("--vocab-size", type=int, default=1536)
    parser.add_argument("--units", type=int, default=60000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train(args.vocab_size, args.seed, args.units)
    tokenizer.save(str(args.out / "tokenizer.json"))
    (args.out / "tokenizer_config.json").write_text(
        json.dumps(tokenizer_config(2048), indent=2) + "\n", encoding="utf-8")
    print(f"vocabulary of {tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
