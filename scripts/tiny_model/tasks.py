"""Generators of question and answer turns; each draws from one side of the split only.

A generator takes a random.Random and `held_out` and returns a Unit: one or more consecutive
(user, assistant) turns. Answers are exact, so a wrong one can be told by string comparison.
"""

import json
from typing import NamedTuple

import words as w
from split import pair_held_out, text_held_out

HIGH_WEIGHT = 8     # loss weights are in quarters; short answers that must be exact
FULL_WEIGHT = 4
STORY_WEIGHT = 1    # free text: its entropy must not drown the exact answers


class Unit(NamedTuple):
    """Consecutive turns of one task; weight is the loss weight of the answers, in quarters."""
    task: str
    turns: list
    weight: int = FULL_WEIGHT


ADD_FORMS = (
    "What is {a} + {b}?", "What is {a} + {b}?", "What is {a}+{b}?", "{a}+{b}", "{a} + {b}",
    "{a} + {b} =", "{a}+{b}=", "{a} + {b} = ?", "Compute {a} + {b}", "Compute {a} + {b}.",
    "Compute {a}+{b}", "Calculate {a} + {b}.", "What is {a} plus {b}?", "{a} plus {b}",
    "Add {a} and {b}.", "Add {b} to {a}.", "What's {a} + {b}?", "How much is {a} + {b}?",
    "How much is {a} plus {b}?", "What is the sum of {a} and {b}?", "Tell me {a} + {b}.",
    "Please compute {a} + {b}.", "Please add {a} and {b}.", "What does {a} + {b} equal?",
    "Can you add {a} and {b}?", "Solve {a} + {b}.", "What do you get if you add {a} and {b}?",
    "Work out {a} + {b}.", "Give me the result of {a} + {b}.", "What is the result of {a} + {b}?",
)
SUB_FORMS = (
    "What is {a} - {b}?", "What is {a} - {b}?", "What is {a}-{b}?", "{a}-{b}", "{a} - {b}",
    "{a} - {b} =", "{a}-{b}=", "{a} - {b} = ?", "Compute {a} - {b}", "Compute {a} - {b}.",
    "Compute {a}-{b}", "Calculate {a} - {b}.", "What is {a} minus {b}?", "{a} minus {b}",
    "Subtract {b} from {a}.", "Take {b} away from {a}.", "What's {a} - {b}?",
    "How much is {a} - {b}?", "How much is {a} minus {b}?", "Tell me {a} - {b}.",
    "Please compute {a} - {b}.", "Please subtract {b} from {a}.", "What does {a} - {b} equal?",
    "Can you subtract {b} from {a}?", "Solve {a} - {b}.", "Work out {a} - {b}.",
    "Give me the result of {a} - {b}.", "What is the result of {a} - {b}?",
)
FOLLOW_FORMS = ("And {a} {op} {b}?", "and {a}{op}{b}?", "Now {a} {op} {b}.",
                "What about {a} {op} {b}?", "Then what is {a} {op} {b}?")
CHAIN_ADD = ("Now add {b} to that.", "Add {b} to the result.", "Plus {b}?", "And plus {b}?",
             "Add {b} more.")
CHAIN_SUB = ("Now subtract {b} from that.", "Subtract {b} from the result.", "Minus {b}?",
             "And minus {b}?", "Take {b} away from it.")


def number(rng, digits):
    """A number of exactly that many digits; one digit includes 0."""
    return rng.randint(0 if digits == 1 else 10 ** (digits - 1), 10 ** digits - 1)


def _raw_pair(rng, digits_a, digits_b):
    a, b = number(rng, digits_a), number(rng, digits_b)
    if digits_a == digits_b and rng.random() < 0.12:
        # Long carries and borrows are rare in uniform draws: nearly equal or complementary pairs.
        low = 0 if digits_a == 1 else 10 ** (digits_a - 1)
        near = rng.choice((a, 10 ** digits_a - a)) + rng.randint(-12, 12)
        b = min(max(near, low), 10 ** digits_a - 1)
    return (b, a) if rng.random() < 0.5 else (a, b)


def pair(rng, held_out, digits_a, digits_b):
    """Operands of the given lengths from the wanted side of the split."""
    while True:
        a, b = _raw_pair(rng, digits_a, digits_b)
        if pair_held_out(a, b) == held_out:
            return a, b


def _digits(rng):
    r = rng.random()
    if r < 0.55:
        return 3, 3
    if r < 0.77:
        return 2, 2
    return rng.choice(((1, 1), (1, 2), (1, 3), (2, 3), (2, 3)))


def _vary(rng, text):
    """Small changes of case and politeness that leave the meaning alone."""
    r = rng.random()
    if r < 0.80:
        return text
    if r < 0.88:
        return text.lower()
    if r < 0.93:
        return text.rstrip(".?")
    lead = rng.choice(("Please: ", "Hi, ", "Hello! ", "Question: ", "Next: ", "Quick: "))
    return lead + text


def question(rng, a, b, op):
    """One of the phrasings of a + b or a - b."""
    return _vary(rng, rng.choice(ADD_FORMS if op == "+" else SUB_FORMS).format(a=a, b=b))


def result(a, b, op):
    return a + b if op == "+" else a - b


def arithmetic(rng, held_out=False, digits=None):
    a, b = pair(rng, held_out, *(digits or _digits(rng)))
    op = rng.choice("+-")
    turns = [(question(rng, a, b, op), str(result(a, b, op)))]
    if held_out:
        return Unit("arithmetic", turns, HIGH_WEIGHT)
    r = rng.random()
    if r < 0.15:
        a, b = pair(rng, False, *_digits(rng))
        op = rng.choice("+-")
        turns.append((rng.choice(FOLLOW_FORMS).format(a=a, b=b, op=op), str(result(a, b, op))))
    elif r < 0.25 and 0 <= result(a, b, op) <= 999:
        total = result(a, b, op)
        b, op = number(rng, rng.choice((1, 2))), rng.choice("+-")
        if not pair_held_out(total, b):
            form = rng.choice(CHAIN_ADD if op == "+" else CHAIN_SUB)
            turns.append((form.format(b=b), str(result(total, b, op))))
    return Unit("arithmetic", turns, HIGH_WEIGHT)


def word_problem(rng, held_out=False):
    a, b = pair(rng, held_out, rng.choice((1, 2)) if not held_out else 2, 2)
    name, other = rng.sample(w.NAMES, 2)
    things = rng.choice(w.OBJECTS + w.FRUITS[:14]) + "s"
    if rng.random() < 0.5:
        text = rng.choice((
            f"{name} has {a} {things}. {other} gives {name} {b} more. "
            f"How many {things} does {name} have now?",
            f"{name} has {a} {things} and {other} has {b} {things}. "
            f"How many {things} do they have together?",
            f"There are {a} {things} in a box. {name} adds {b} {things}. "
            f"How many {things} are in the box?"))
        return Unit("word_problem", [(text, str(a + b))], HIGH_WEIGHT)
    a, b = max(a, b), min(a, b)
    text = rng.choice((
        f"{name} has {a} {things} and gives {b} of them to {other}. "
        f"How many {things} does {name} have left?",
        f"There are {a} {things} in a box. {name} takes {b} of them. "
        f"How many {things} are left in the box?",
        f"{name} had {a} {things} and lost {b}. How many {things} are left?"))
    return Unit("word_problem", [(text, str(a - b))], HIGH_WEIGHT)


def _word_list(rng, task, held_out, low, high):
    while True:
        chosen = rng.sample(w.WORDS, rng.randint(low, high))
        if text_held_out(task, " ".join(sorted(chosen))) == held_out:
            return chosen


def sort_words(rng, held_out=False):
    chosen = _word_list(rng, "sort", held_out, 2, 7)
    sep = rng.choice((", ", ", ", " "))
    form = rng.choice((
        "Sort these words alphabetically: {x}", "Sort these words alphabetically: {x}.",
        "Sort the words: {x}", "Sort alphabetically: {x}", "Put these words in alphabetical order: {x}",
        "Arrange these words in alphabetical order: {x}", "Sort: {x}", "Please sort: {x}",
        "Order these words from A to Z: {x}", "Alphabetize these words: {x}",
        "Sort the following words alphabetically: {x}", "Sort the list {x} alphabetically."))
    return Unit("sort", [(_vary(rng, form.format(x=sep.join(chosen))), sep.join(sorted(chosen)))])


def reverse_words(rng, held_out=False):
    chosen = _word_list(rng, "reverse_words", held_out, 2, 8)
    sep = rng.choice((", ", " ", " "))
    form = rng.choice((
        "Reverse the order of these words: {x}", "Reverse these words: {x}",
        "Reverse the word order: {x}", "Write these words in reverse order: {x}",
        "Say these words backwards: {x}", "Reverse the list: {x}",
        "Please reverse the order of the words: {x}"))
    return Unit("reverse_words",
                [(_vary(rng, form.format(x=sep.join(chosen))), sep.join(reversed(chosen)))])


def _single_word(rng, task, held_out):
    while True:
        word = rng.choice(w.WORDS) if rng.random() < 0.5 else w.pseudo_word(rng)
        if text_held_out(task, word) == held_out:
            return word


def _quoted(rng, word):
    return rng.choice(("{}", "'{}'", '"{}"')).format(word)


def reverse_letters(rng, held_out=False):
    word = _single_word(rng, "reverse_letters", held_out)
    form = rng.choice((
        "Reverse the word {x}.", "Reverse the word {x}", "Reverse the letters of {x}.",
        "Reverse the letters of {x}", "Reverse the letters of the word {x}.",
        "Spell {x} backwards.", "Write {x} backwards.", "Write the word {x} backwards.",
        "What is {x} spelled backwards?", "What is {x} backwards?", "Reverse {x}",
        "Reverse this word: {x}"))
    return Unit("reverse_letters", [(form.format(x=_quoted(rng, word)), word[::-1])], HIGH_WEIGHT)


def spell(rng, held_out=False):
    word = rng.choice(w.WORDS) if rng.random() < 0.6 else w.pseudo_word(rng)
    if rng.random() < 0.5:
        form = rng.choice(("Spell {x}.", "Spell the word {x}.", "How do you spell {x}?",
                           "Spell out {x}."))
        return Unit("spell", [(form.format(x=_quoted(rng, word)), "-".join(word))])
    form = rng.choice(("Spell {x} backwards with dashes.", "Spell {x} backwards, letter by letter."))
    return Unit("spell", [(form.format(x=_quoted(rng, word)), "-".join(reversed(word)))])


def _json_fields():
    def copied(rng):
        return rng.choice(w.WORDS) if rng.random() < 0.6 else w.pseudo_word(rng)

    def small(rng):
        return rng.randint(0, 99)

    return {
        "name": lambda r: r.choice(w.NAMES), "age": small, "city": lambda r: r.choice(w.CITIES),
        "color": lambda r: r.choice(w.COLORS), "pet": lambda r: r.choice(w.ANIMALS),
        "job": lambda r: r.choice(w.JOBS), "fruit": lambda r: r.choice(w.FRUITS),
        "friend": lambda r: r.choice(w.NAMES), "score": lambda r: r.randint(0, 999),
        "count": small, "price": lambda r: r.randint(1, 999), "year": lambda r: r.randint(1900, 2030),
        "item": copied, "title": copied, "word": copied, "key": copied, "value": copied,
        "id": lambda r: r.randint(0, 999), "size": lambda r: r.choice(("small", "big", "tall")),
        "active": lambda r: r.random() < 0.5, "place": lambda r: r.choice(w.PLACES)}


JSON_FIELDS = _json_fields()


def json_echo(rng, held_out=False):
    while True:
        keys = rng.sample(sorted(JSON_FIELDS), rng.randint(1, 5))
        record = {key: JSON_FIELDS[key](rng) for key in keys}
        answer = json.dumps(record)
        if text_held_out("json", answer) == held_out:
            break
    eq, sep = rng.choice((("=", ", "), ("=", ", "), (": ", ", "), ("=", " "), (" = ", ", "), (":", ", ")))
    plain = {k: json.dumps(v) if isinstance(v, bool) else str(v) for k, v in record.items()}
    x = sep.join(f"{k}{eq}{v}" for k, v in plain.items())
    form = rng.choice((
        "Return this as JSON: {x}", "Return this as JSON: {x}", "Return as JSON: {x}",
        "Convert to JSON: {x}", "Write this as JSON: {x}", "Make a JSON object: {x}", "JSON: {x}",
        "Turn this into JSON: {x}", "Give me JSON for {x}", "Please return this as JSON: {x}"))
    return Unit("json", [(_vary_json(rng, form).format(x=x), answer)])


def _vary_json(rng, form):
    return form if rng.random() < 0.9 else form.replace("JSON", "json")


def count(rng, held_out=False):
    while True:
        a = rng.choice((0, 1, 1, rng.randint(0, 80)))
        b = a + rng.randint(2, rng.choice((12, 30, 60)))
        step = 1 if rng.random() < 0.8 else -1
        if b <= 100 and text_held_out("count", f"{a}:{b}") == held_out:
            break
    a, b = (a, b) if step == 1 else (b, a)
    form = rng.choice(("Count from {a} to {b}.", "Count from {a} to {b}", "Count: {a} to {b}",
                       "Please count from {a} to {b}.", "List the numbers from {a} to {b}."))
    answer = ", ".join(str(i) for i in range(a, b + step, step))
    return Unit("count", [(form.format(a=a, b=b), answer)], STORY_WEIGHT)


def repeat(rng, held_out=False):
    while True:
        n = rng.randint(1, 12)
        text = " ".join(rng.choice(w.WORDS) if rng.random() < 0.8 else w.pseudo_word(rng)
                        for _ in range(n))
        if text_held_out("repeat", text) == held_out:
            break
    form = rng.choice(("Repeat after me: {x}", "Repeat: {x}", "Repeat this: {x}", "Say: {x}",
                       "Repeat these words: {x}", "Please repeat: {x}", "Echo: {x}"))
    return Unit("repeat", [(form.format(x=text), text)])
