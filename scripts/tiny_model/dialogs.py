"""Joins turns into ChatML rows of fixed length, with loss weights, as arrays for training."""

import json
import random

import numpy as np

import stories
import talk
import tasks
import words as w

END_OF_TEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

# (generator, share of the drawn units[, loss weight instead of the unit's own]).
MAIN_MIX = (
    (tasks.arithmetic, 0.42), (tasks.word_problem, 0.03), (tasks.sort_words, 0.10),
    (tasks.reverse_words, 0.05), (tasks.reverse_letters, 0.10), (tasks.spell, 0.04),
    (tasks.json_echo, 0.06), (tasks.count, 0.02), (tasks.repeat, 0.02),
    (stories.story_question, 0.07), (stories.tell_story, 0.02), (stories.tell_and_ask, 0.01),
    (talk.small_talk, 0.03), (talk.cannot, 0.03))
# The finish leans towards what the main run learned least.
FINISH_MIX = (
    (tasks.arithmetic, 0.32), (tasks.word_problem, 0.03), (tasks.sort_words, 0.10),
    (tasks.reverse_words, 0.03), (tasks.reverse_letters, 0.12), (tasks.spell, 0.05),
    (tasks.json_echo, 0.05), (tasks.count, 0.03, 2), (tasks.repeat, 0.02),
    (stories.story_question, 0.16, tasks.HIGH_WEIGHT), (stories.tell_story, 0.02),
    (stories.tell_and_ask, 0.01), (talk.small_talk, 0.03), (talk.cannot, 0.03))
MIXES = {"main": MAIN_MIX, "finish": FINISH_MIX}

SYSTEM_PROMPTS = (
    "You are a helpful assistant.", "You are a helpful assistant", "You are an assistant.",
    "You are a friendly assistant.", "Be brief.", "Answer briefly.", "Answer with one word.",
    "You are krserve.", "You are krserve's tiny demonstration model.", "You are a calculator.",
    "Be concise and correct.", "You answer questions.", "You are a helpful AI assistant.",
    "You are a test model.", "Reply in English.", "Follow the instructions exactly.",
    "You are a bot on a server.", "Think carefully.", "You are a math tutor.",
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.")

# Row lengths, and the most units a row may hold: short rows are single questions.
BUCKETS = {64: 1, 192: 4, 512: 12, 1024: 30}


def message(role, content):
    return f"{IM_START}{role}\n{content}{IM_END}\n"


def prompt_text(turns, system=None):
    """The text a model is given: turns is [(user, assistant), ..., (user, None)]."""
    text = message("system", system) if system is not None else ""
    for user, assistant in turns:
        text += message("user", user)
        text += f"{IM_START}assistant\n" if assistant is None else message("assistant", assistant)
    return text


def _system(rng):
    r = rng.random()
    if r < 0.5:
        return None
    if r < 0.7:
        return SYSTEM_PROMPTS[0]
    if r < 0.95:
        return rng.choice(SYSTEM_PROMPTS)
    return " ".join(rng.choice(w.WORDS) for _ in range(rng.randint(2, 15))).capitalize() + "."


def draw_unit(rng, mix=MAIN_MIX):
    generator, _, *weight = rng.choices(mix, [entry[1] for entry in mix])[0]
    unit = generator(rng)
    return unit._replace(weight=weight[0]) if weight else unit


def _plain_text(rng):
    """Text without a chat frame, for the completions endpoint: (prefix, learned part)."""
    if rng.random() < 0.7:
        a, b = tasks.pair(rng, False, *tasks._digits(rng))
        op = rng.choice("+-")
        frame = rng.choice((f"{a} + {b} =", f"{a}+{b}=", f"What is {a} + {b}? Answer:"))
        return frame.replace("+", op), " " * (frame[-2] == " " or frame[-1] == ":") + str(
            tasks.result(a, b, op))
    story = stories.tell_story(rng).turns[0][1]
    cut = story.index(" ")
    return story[:cut], story[cut:]


class Encoder:
    """Turns units into token ids and per-token loss weights."""

    def __init__(self, tokenizer, mix=MAIN_MIX):
        self.tokenizer, self.mix = tokenizer, mix
        self.end_of_text = tokenizer.token_to_id(END_OF_TEXT)

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def unit(self, unit):
        ids, weights = [], []
        for user, assistant in unit.turns:
            prompt = self.ids(message("user", user) + f"{IM_START}assistant\n")
            answer = self.ids(f"{assistant}{IM_END}\n")
            # The newline after <|im_end|> is never generated; it gets no loss.
            ids += prompt + answer
            weights += [0] * len(prompt) + [unit.weight] * (len(answer) - 1) + [0]
        return ids, weights

    def plain(self, rng):
        prefix, learned = _plain_text(rng)
        head, tail = self.ids(prefix), self.ids(learned) + [self.end_of_text]
        return head + tail, [0] * len(head) + [2 if len(tail) < 10 else 1] * len(tail)

    def row(self, rng, length, max_units):
        """One conversation that fits in `length` tokens."""
        if max_units <= 4 and rng.random() < 0.04:
            ids, weights = self.plain(rng)
            if len(ids) <= length:
                return ids, weights
        system = _system(rng)
        ids = self.ids(message("system", system)) if system is not None else []
        weights = [0] * len(ids)
        units = 0
        wanted = max_units if rng.random() < 0.7 else rng.randint(1, max_units)
        while units < wanted:
            more, more_weights = self.unit(draw_unit(rng, self.mix))
            if len(ids) + len(more) > length:
                if units:
                    break
                continue
            ids, weights, units = ids + more, weights + more_weights, units + 1
        return ids, weights


def batch(encoder, rng, length, rows):
    """(ids uint16 [rows, length], weights uint8 [rows, length]); padding is <|endoftext|>, weight 0."""
    ids = np.full((rows, length), encoder.end_of_text, dtype=np.uint16)
    weights = np.zeros((rows, length), dtype=np.uint8)
    for i in range(rows):
        row, row_weights = encoder.row(rng, length, BUCKETS[length])
        ids[i, :len(row)] = row
        weights[i, :len(row)] = row_weights
    return ids, weights


HELD_OUT = {
    "add_2digit": lambda r: _sum(r, 2, "+"), "sub_2digit": lambda r: _sum(r, 2, "-"),
    "add_3digit": lambda r: _sum(r, 3, "+"), "sub_3digit": lambda r: _sum(r, 3, "-"),
    "word_problem": lambda r: tasks.word_problem(r, True).turns[0],
    "sort": lambda r: tasks.sort_words(r, True).turns[0],
    "reverse_words": lambda r: tasks.reverse_words(r, True).turns[0],
    "reverse_letters": lambda r: tasks.reverse_letters(r, True).turns[0],
    "story_qa": lambda r: stories.story_question(r, True).turns[0],
    "json": lambda r: tasks.json_echo(r, True).turns[0],
    "count": lambda r: tasks.count(r, True).turns[0],
    "repeat": lambda r: tasks.repeat(r, True).turns[0],
}


def _sum(rng, digits, op):
    a, b = tasks.pair(rng, True, digits, digits)
    return tasks.question(rng, a, b, op), str(tasks.result(a, b, op))


def held_out(task, n, seed):
    """n distinct held-out (prompt, answer) pairs of one task."""
    rng = random.Random(f"{task}:{seed}")
    found = {}
    while len(found) < n:
        prompt, answer = HELD_OUT[task](rng)
        found[prompt] = answer
    return list(found.items())


def write_jsonl(path, counts, seed):
    with open(path, "w", encoding="utf-8") as out:
        for task, n in counts.items():
            for prompt, answer in held_out(task, n, seed):
                out.write(json.dumps({"task": task, "prompt": prompt, "answer": answer}) + "\n")
