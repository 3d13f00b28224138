"""Templated stories: written on request, and small simulated worlds with questions about them."""

import words as w
from split import text_held_out
from tasks import STORY_WEIGHT, FULL_WEIGHT, Unit

WEATHER = ("sunny", "rainy", "cold", "warm", "windy", "foggy", "snowy", "bright")
HOMES = ("at the edge of the forest", "near the old mill", "in a small village", "by the quiet lake",
         "on a green hill", "under the old bridge", "behind the bakery", "in a cozy cave",
         "next to the river", "in the middle of the meadow")


def article(word):
    return ("an " if word[0] in "aeiou" or word == "honest" else "a ") + word


def _tale(rng, hero, animal, thing):
    """A story of 8 to 10 sentences with a hero, a found thing, a worry and a friend."""
    adj, color, place = rng.choice(w.ADJECTIVES), rng.choice(w.COLORS), rng.choice(w.PLACES)
    friend = rng.choice([n for n in w.NAMES if n != hero])
    other = rng.choice([a for a in w.ANIMALS if a != animal])
    lines = [
        rng.choice((
            f"Once upon a time, there was {article(adj)} {animal} named {hero} who lived "
            f"{rng.choice(HOMES)}.",
            f"Once there was {article(adj)} {animal} called {hero}. {hero} lived {rng.choice(HOMES)}.",
            f"Long ago, {article(adj)} {animal} named {hero} lived {rng.choice(HOMES)}.")),
        rng.choice((
            f"One {rng.choice(WEATHER)} day, {hero} went to the {place} and found {article(color)} "
            f"{thing}.",
            f"One {rng.choice(WEATHER)} morning, {hero} walked to the {place} and saw "
            f"{article(color)} {thing} on the ground.",
            f"On a {rng.choice(WEATHER)} evening, {hero} found {article(color)} {thing} near the "
            f"{place}.")),
        rng.choice((
            f'"Who does this {thing} belong to?" asked {hero}.',
            f'"What a lovely {thing}!" said {hero}.',
            f"{hero} had never seen such a {thing} before.",
            f'"Someone must miss this {thing}," thought {hero}.')),
        rng.choice((
            f"Just then, {hero} heard someone crying behind a tree.",
            "Suddenly, a small voice called for help.",
            "Not far away, somebody was looking for something.")),
        rng.choice((
            f"It was {friend} the {other}, who had lost the {thing}.",
            f"It was {article(other)} named {friend}, and the {thing} belonged to {friend}.")),
        rng.choice((
            f"{hero} smiled and gave the {thing} back to {friend}.",
            f'"Here it is," said {hero}, and {friend} was very happy.',
            f"{hero} gave the {thing} to {friend}, and {friend} danced with joy.")),
        rng.choice((
            f"To say thank you, {friend} shared some {rng.choice(w.FRUITS)} with {hero}.",
            f"{friend} thanked {hero} and told a funny story.",
            f"Then {friend} and {hero} played until the sun went down.")),
        rng.choice((
            "From that day on, they were the best of friends.",
            f"And so {hero} learned that it is good to be kind.",
            f"That night, {hero} went home with a happy heart.",
            "They lived happily ever after.")),
    ]
    return " ".join(lines) + rng.choice(("", " The end.")), color, place, friend, other


TALE_FORMS = (
    "Tell me a short story.", "Tell me a story.", "Write a short story.", "Write a story.",
    "tell me a story", "Can you tell me a story?", "Please tell me a short story.", "Story please!",
    "Tell a story.", "Write me a short story.")
TALE_ABOUT = (
    "Tell me a short story about {x}.", "Tell me a story about {x}.", "Write a story about {x}.",
    "Write a short story about {x}.", "Please write a story about {x}.",
    "tell me a story about {x}", "Can you tell me a story about {x}?", "A story about {x}, please.")


def tell_story(rng, held_out=False):
    while True:
        hero, animal, thing = rng.choice(w.NAMES), rng.choice(w.ANIMALS), rng.choice(w.OBJECTS)
        if text_held_out("tale", f"{hero}:{animal}:{thing}") == held_out:
            break
    story, color, place, friend, other = _tale(rng, hero, animal, thing)
    about = rng.choice((
        article(animal), article(animal), article(thing), f"{article(animal)} and {article(thing)}",
        f"{article(animal)} and {article(thing)}", f"{article(animal)} named {hero}",
        f"{hero} the {animal}", f"{hero} the {animal} and {article(thing)}", hero,
        f"{article(animal)} named {hero} and {article(thing)}"))
    ask = rng.choice(TALE_FORMS) if rng.random() < 0.25 else rng.choice(TALE_ABOUT).format(x=about)
    return Unit("tale", [(ask, story)], STORY_WEIGHT)


def _tale_questions(hero, animal, thing, color, place, friend, other):
    return (
        (f"What was the name of the {animal}?", hero), (f"Who found the {thing}?", hero),
        (f"What did {hero} find?", f"{article(color)} {thing}"),
        (f"What color was the {thing}?", color), (f"Who lost the {thing}?", friend),
        (f"What animal was {hero}?", article(animal)), (f"What animal was {friend}?", article(other)),
        (f"Where did {hero} find the {thing}?", place),
        (f"Who did {hero} help?", friend))


class _World:
    """People, places and things; every event appends one sentence and updates the truth."""

    def __init__(self, rng):
        self.rng = rng
        self.people = rng.sample(w.NAMES, rng.choice((2, 2, 3)))
        self.at, self.owner, self.color, self.found_at = {}, {}, {}, {}
        self.met, self.lines = {}, []
        for _ in range(rng.randint(2, 6)):
            self._event()

    def _event(self):
        rng, person = self.rng, self.rng.choice(self.people)
        mine = [t for t, p in self.owner.items() if p == person]
        r = rng.random()
        if r < 0.35 or person not in self.at and r < 0.55:
            place = rng.choice([p for p in w.PLACES[:24] if p != self.at.get(person)])
            self.at[person] = place
            self.lines.append(rng.choice((f"{person} went to the {place}.",
                                          f"{person} walked to the {place}.",
                                          f"{person} is in the {place}.")))
        elif r < 0.60 or not mine:
            self._find(person)
        elif r < 0.85:
            other = rng.choice([p for p in self.people if p != person])
            thing = rng.choice(mine)
            self.owner[thing] = other
            self.lines.append(rng.choice((f"{person} gave the {thing} to {other}.",
                                          f"{person} handed the {thing} to {other}.")))
        elif person not in self.met:
            animal = rng.choice(w.ANIMALS)
            self.met[person] = animal
            self.lines.append(f"{person} met {article(animal)}.")

    def _find(self, person):
        rng = self.rng
        thing = rng.choice([t for t in w.OBJECTS if t not in self.owner])
        self.owner[thing], self.color[thing] = person, rng.choice(w.COLORS)
        what = f"{article(self.color[thing])} {thing}"
        if person in self.at and rng.random() < 0.5:
            self.found_at[thing] = self.at[person]
            self.lines.append(f"{person} found {what} there.")
        else:
            self.lines.append(rng.choice((f"{person} found {what}.", f"{person} has {what}.",
                                          f"{person} bought {what}.")))

    def questions(self):
        out = [(f"Where is {p}?", place) for p, place in self.at.items()]
        for thing, owner in self.owner.items():
            out += [(f"Who has the {thing}?", owner), (f"What color is the {thing}?", self.color[thing])]
        out += [(f"What animal did {p} meet?", a) for p, a in self.met.items()]
        out += [(f"Where was the {t} found?", place) for t, place in self.found_at.items()]
        return out


def _world(rng, held_out):
    while True:
        world = _World(rng)
        questions = world.questions()
        story = " ".join(world.lines)
        if questions and text_held_out("world", story) == held_out:
            return story, questions


def story_question(rng, held_out=False):
    if rng.random() < 0.65:
        story, questions = _world(rng, held_out)
    else:
        while True:
            hero, animal, thing = rng.choice(w.NAMES), rng.choice(w.ANIMALS), rng.choice(w.OBJECTS)
            if text_held_out("tale", f"{hero}:{animal}:{thing}") == held_out:
                break
        story, *rest = _tale(rng, hero, animal, thing)
        questions = _tale_questions(hero, animal, thing, *rest)
    asked = rng.sample(questions, min(len(questions), rng.choice((1, 1, 2, 3))))
    first, answer = asked[0]
    form = rng.choice((
        "{s} {q}", "{s}\n{q}", "{s}\n\nQuestion: {q}", "Read the story and answer the question.\n\n{s}\n\n{q}",
        "Story: {s}\nQuestion: {q}", "Read this story: {s} {q}",
        "Read the story and answer the question. {s} {q}"))
    if rng.random() < 0.1 and not held_out:
        turns = [("Here is a story: " + story, "I have read the story. What is your question?"),
                 (first, answer)]
    else:
        turns = [(form.format(s=story, q=first), answer)]
    return Unit("story_qa", turns + ([] if held_out else asked[1:]), FULL_WEIGHT)


def tell_and_ask(rng, held_out=False):
    """A story on request, then questions about the story just told."""
    hero, animal, thing = rng.choice(w.NAMES), rng.choice(w.ANIMALS), rng.choice(w.OBJECTS)
    story, *rest = _tale(rng, hero, animal, thing)
    ask = rng.choice(TALE_ABOUT).format(x=rng.choice((
        article(animal), f"{article(animal)} and {article(thing)}", f"{hero} the {animal}")))
    questions = rng.sample(_tale_questions(hero, animal, thing, *rest), rng.choice((1, 2)))
    return Unit("story_qa", [(ask, story)] + questions, 2)
