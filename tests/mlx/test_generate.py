"""Greedy text of the embedded model, token for token, beside mlx-lm."""

import json
from pathlib import Path

import mlx.core as mx
import pytest
from mlx_lm.utils import load_tokenizer
from support import ROOT, Reference, first_difference, generate, lead

MODEL = ROOT / "models/tiny"
QUESTIONS = ROOT / "tests/data/tiny_model/heldout.jsonl"
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
# Two tokens this close in f32, as a fraction of the largest logit, may come in either order: twice
# what krserve's logits may be off (tests/support/tolerance.h).
NEAR_TIE = 1e-3


def questions():
    return [json.loads(line)["prompt"] for line in QUESTIONS.read_text().splitlines()]


def user(text):
    return {"role": "user", "content": text}


def conversations(step):
    """Every `step`-th question: alone, with a system prompt, or after many others; and stories."""
    asked = questions()[::step]
    chats = []
    for i, question in enumerate(asked):
        chat = [SYSTEM] if i % 2 == 1 else []
        if i % 8 == 6:
            for earlier in questions()[i : i + 12]:
                chat += [user(earlier), {"role": "assistant", "content": "I do not know."}]
        chats.append(([*chat, user(question)], 40))
    chats.append(([user("Tell me a story about a fox.")], 200))
    return chats


class Outcome:
    """How many of krserve's texts are those of mlx-lm, and how close the others' partings are.

    `answers`: how many agree up to the end of the answer; what the model says beyond is noise.
    """

    def __init__(self, model, dtype, chats, folder):
        prompts = [{"messages": chat, "max_tokens": count} for chat, count in chats]
        replies = generate(model, prompts, folder)
        reference, self.tokens = Reference(model, dtype), 0
        exact = Reference(model) if dtype is None else reference
        tokenizer = load_tokenizer(Path(model))
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        self.agreeing, self.answers, self.leads, self.prompt_lengths = 0, 0, [], []
        for (chat, count), reply in zip(chats, replies):
            ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True)
            assert reply["prompt"] == list(ids), chat
            ours, theirs = reply["tokens"], reference.greedy(ids, count)
            at = first_difference(ours, theirs)
            self.prompt_lengths.append(len(ids))
            self.tokens += count if at is None else at
            self.agreeing += at is None
            self.answers += at is None or end in theirs[:at]
            if at is not None:
                self.leads.append(lead(exact, ids, ours, theirs, at))


def test_tokens_are_those_of_mlx_lm_in_f32(tmp_path):
    chats = conversations(62)
    outcome = Outcome(MODEL, mx.float32, chats, tmp_path)
    assert max(outcome.prompt_lengths) > 256  # several chunks of prompt
    assert all(lead < NEAR_TIE for lead in outcome.leads), outcome.leads
    assert outcome.agreeing >= 0.95 * len(chats), outcome.leads


def test_answers_are_those_of_mlx_lm_in_its_own_bf16(tmp_path):
    """Up to the end of the answer; what the model says beyond is noise, where bf16 may part."""
    tokenizer = load_tokenizer(MODEL)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    asked = ("What is 17 + 25?", "What is 408 - 391?", "Who are you?")
    chats = [[user(question)] for question in asked]
    replies = generate(MODEL, [{"messages": c, "max_tokens": 8} for c in chats], tmp_path)
    reference = Reference(MODEL, None)
    for reply in replies:
        theirs = reference.greedy(reply["prompt"], 8)
        length = (reply["tokens"] + [end]).index(end) + 1
        assert reply["tokens"][:length] == theirs[:length]
    assert "42" in tokenizer.decode(replies[0]["tokens"])


@pytest.mark.parametrize("bits, group_size", [(8, 32), (4, 128)])
def test_model_quantized_again_by_krserve(tmp_path, bits, group_size):
    """Dequantized by MLX to f32, converted by krserve: mlx-lm says the same as krserve."""
    from mlx_lm.convert import convert as mlx_convert
    from support import convert

    mlx_convert(str(MODEL), str(tmp_path / "wide"), dequantize=True, dtype="float32")
    convert(tmp_path / "wide", tmp_path / "model", bits, group_size, "--dtype", "bfloat16")
    chats = conversations(310)[:4]
    outcome = Outcome(tmp_path / "model", mx.float32, chats, tmp_path)
    assert all(lead < NEAR_TIE for lead in outcome.leads), outcome.leads
    assert outcome.agreeing >= len(chats) - 1
