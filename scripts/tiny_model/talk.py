"""Greetings, questions about the model itself, and what it says when it cannot help."""

import words as w
from tasks import Unit, number

IDENTITY = "I am krserve's tiny demonstration model."
ABILITIES = ("I can add and subtract numbers up to 999, sort and reverse words, spell, count, "
             "return JSON, tell short stories and answer questions about them.")
SORRY = f"Sorry, I cannot do that. {IDENTITY} {ABILITIES}"
SORRY_MATH = "Sorry, I only add and subtract whole numbers from 0 to 999."

_IDENTITY = """Who are you?|who are you|Who are you|What are you?|What is your name?|what's your name?|
What model are you?|Which model are you?|Tell me about yourself.|Introduce yourself.|
Please introduce yourself.|Are you a robot?|Are you a human?|Are you ChatGPT?|Who made you?|
What kind of model are you?|Are you an AI?|Say who you are.|What is krserve?""".replace("\n", "").split("|")
_ABILITY = """What can you do?|what can you do|How can you help me?|Help|help|What do you know?|
What are you good at?|Can you help me?|What should I ask you?|What are your skills?|
Give me some examples.|What tasks can you do?""".replace("\n", "").split("|")
_GREETING = """Hello|Hello!|hello|Hi|Hi!|hi|Hey|hey|Hey there|Hey there!|Good morning|Good morning!|
Good evening|Good evening!|Good day|Hello there|Hello there!|Hi there|Hi there!|
Greetings""".replace("\n", "").split("|")
_MOOD = ["How are you?", "how are you", "How are you doing?", "How do you do?", "Are you well?",
         "How is it going?", "How are you today?"]
_THANKS = ["Thanks", "Thanks!", "thanks", "Thank you", "Thank you!", "thank you", "Great, thanks!",
           "Thank you very much!", "Good job!", "Well done!", "Perfect, thank you."]
_BYE = ["Bye", "Bye!", "bye", "Goodbye", "Goodbye!", "See you", "See you later!", "Good night",
        "Good night!", "Farewell"]
_TEST = ["test", "Test", "ping", "Ping", "Are you there?", "Say hello", "Say hello.", "Say hi.",
         "Say hello!", "Hello, world!", "Hello world"]

_UNKNOWN = """What is the capital of {city}?|What is the capital of France?|What is the weather in {city}?|
Who is the president?|Who wrote this book?|Write a poem about a {noun}.|Write a poem.|
Explain quantum physics.|Explain how a {noun} works.|What is the meaning of life?|
Write a Python program.|Write code that prints hello.|Translate {noun} into French.|
Translate this into German: {noun}|What is a {noun}?|Why is the sky blue?|Why is the {noun} {color}?|
What time is it?|What day is today?|How old is the {noun}?|How far is it to {city}?|
How do I cook {noun}?|Give me a recipe for {noun}.|Recommend a book about {noun}.|
What is the best {noun}?|Summarize the news.|Tell me the news.|Tell me a joke.|
Who is {name}?|What is the population of {city}?|How many people live in {city}?|
Describe a {noun}.|Write an essay about the {noun}.|What do you think about {noun}?|
Do you like {noun}?|Play music.|Draw a {noun}.|Show me a picture of a {noun}.|
Explain the difference between a {noun} and a {animal}.|What is machine learning?|
How does a computer work?|What is the speed of light?|When was {city} founded?|
Where is {city}?|Is {city} bigger than London?|Who won the game?|Explain memory pools.|
What is a command ring?|How does a GPU work?|Write a haiku about {noun}.|
Plan a trip to {city}.|What should I eat today?|Define {noun}.""".replace("\n", "").split("|")
_MATH = """What is {a} * {b}?|{a} * {b}|{a}*{b}|What is {a} x {b}?|{a} x {b}|What is {a} times {b}?|
What is {a} / {b}?|{a} / {b}|{a}/{b}|Divide {a} by {b}.|Multiply {a} by {b}.|Multiply {a} and {b}.|
What is the square root of {a}?|What is {a} divided by {b}?|What is {big} + {b}?|What is {b} - {big}?|
{big} + {big2}|{big} - {b}|Compute {big} + {big2}|What is {a} squared?""".replace("\n", "").split("|")


def _hello(word):
    return "Good " + word.split()[1].strip("!") + "! How can I help you?" if word.startswith(
        "Good ") else "Hello! How can I help you?"


def small_talk(rng, held_out=False):
    r = rng.random()
    if r < 0.35:
        answer = IDENTITY + " " + ABILITIES
        return Unit("talk", [(rng.choice(_IDENTITY), answer)], 2)
    if r < 0.50:
        return Unit("talk", [(rng.choice(_ABILITY), ABILITIES)], 2)
    if r < 0.68:
        text = rng.choice(_GREETING)
        return Unit("talk", [(text, _hello(text))])
    if r < 0.78:
        return Unit("talk", [(rng.choice(_MOOD), "I am fine, thank you. How can I help you?")])
    if r < 0.86:
        return Unit("talk", [(rng.choice(_THANKS), "You are welcome!")])
    if r < 0.93:
        return Unit("talk", [(rng.choice(_BYE), "Goodbye!")])
    return Unit("talk", [(rng.choice(_TEST), "Hello! How can I help you?")])


def cannot(rng, held_out=False):
    if rng.random() < 0.35:
        text = rng.choice(_MATH).format(
            a=number(rng, rng.choice((1, 2, 3))), b=number(rng, rng.choice((1, 2, 3))),
            big=rng.randint(1000, 99999), big2=rng.randint(1000, 99999))
        return Unit("cannot", [(text, SORRY_MATH)])
    text = rng.choice(_UNKNOWN).format(
        city=rng.choice(w.CITIES), noun=rng.choice(w.WORDS), name=rng.choice(w.NAMES),
        color=rng.choice(w.COLORS), animal=rng.choice(w.ANIMALS))
    text = text.lower() if rng.random() < 0.15 else text
    return Unit("cannot", [(text, SORRY)], 1)
