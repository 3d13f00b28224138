"""Scores a model directory on held-out questions by greedy decoding; prints a table."""

import argparse
import collections
import itertools
import json
import pathlib

import dialogs
from reference import Model
from split import pair_held_out

# Held-out questions per task of the committed file; sums are the promise, hence the most.
FILE_COUNTS = {
    "add_2digit": 220, "sub_2digit": 220, "add_3digit": 220, "sub_3digit": 220, "word_problem": 40,
    "sort": 60, "reverse_words": 40, "reverse_letters": 60, "story_qa": 60, "json": 60, "count": 20,
    "repeat": 20}
FILE_SEED = 7


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def all_two_digit():
    """Every held-out pair of two-digit numbers, both orders, plus and minus."""
    rows = []
    for a, b in itertools.product(range(10, 100), repeat=2):
        if pair_held_out(a, b):
            rows.append({"task": "all 2-digit +", "prompt": f"What is {a} + {b}?", "answer": str(a + b)})
            rows.append({"task": "all 2-digit -", "prompt": f"What is {a} - {b}?", "answer": str(a - b)})
    return rows


def drawn(count, tasks):
    return [{"task": task, "prompt": prompt, "answer": answer} for task in tasks
            for prompt, answer in dialogs.held_out(task, count, seed=FILE_SEED + 1)]


def answers(model, prompts, system, batch=64, max_tokens=320):
    """Greedy answers to single questions, batched by prompt length."""
    encoded = [model.tokenizer.encode(dialogs.prompt_text([(p, None)], system),
                                      add_special_tokens=False).ids for p in prompts]
    by_length = collections.defaultdict(list)
    for i, ids in enumerate(encoded):
        by_length[len(ids)].append(i)
    out = [None] * len(prompts)
    for members in by_length.values():
        for at in range(0, len(members), batch):
            part = members[at:at + batch]
            tokens, stopped = model.generate([encoded[i] for i in part], max_tokens)
            for i, ids, done in zip(part, tokens, stopped):
                out[i] = (model.tokenizer.decode(ids, skip_special_tokens=False), len(ids), done)
    return out


def score(model, rows, system, show):
    """{task: [right, asked]}; prints up to `show` wrong answers per task."""
    table = collections.defaultdict(lambda: [0, 0])
    for row, (text, _, done) in zip(rows, answers(model, [r["prompt"] for r in rows], system)):
        right = done and text == row["answer"]
        table[row["task"]][0] += right
        table[row["task"]][1] += 1
        if not right and table[row["task"]][1] - table[row["task"]][0] <= show:
            print(f"  wrong {row['task']}: {row['prompt']!r} -> {text!r}, not {row['answer']!r}")
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, default="models/tiny")
    parser.add_argument("--file", type=pathlib.Path, default="tests/data/tiny_model/heldout.jsonl")
    parser.add_argument("--write-file", action="store_true", help="write the held-out file and stop")
    parser.add_argument("--draw", type=int, default=0,
                        help="score so many fresh questions per task instead")
    parser.add_argument("--tasks", nargs="*", default=list(dialogs.HELD_OUT), help="for --draw")
    parser.add_argument("--all-two-digit", action="store_true", help="score every held-out 2-digit pair")
    parser.add_argument("--system", help="system prompt to ask with")
    parser.add_argument("--ask", nargs="*", help="print the answers to these questions and stop")
    parser.add_argument("--show", type=int, default=3, help="wrong answers to print per task")
    args = parser.parse_args()
    if args.write_file:
        dialogs.write_jsonl(args.file, FILE_COUNTS, FILE_SEED)
        return
    model = Model(args.model)
    if args.ask:
        for prompt, (text, tokens, done) in zip(args.ask, answers(model, args.ask, args.system)):
            print(f"{prompt}\n  -> {text} [{tokens} tokens, {'ended' if done else 'cut'}]")
        return
    rows = (all_two_digit() if args.all_two_digit else
            drawn(args.draw, args.tasks) if args.draw else read(args.file))
    for task, (right, asked) in score(model, rows, args.system, args.show).items():
        print(f"{task:16} {right:5}/{asked:<5} {100 * right / asked:6.2f} %")


if __name__ == "__main__":
    main()
