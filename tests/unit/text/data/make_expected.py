"""Writes the tokenizers and expected.json that the tests of src/text read.

Needs the PyPI packages jinja2 and tokenizers; transformers is not needed: render() sets Jinja2 up as
transformers.utils.chat_template_utils does. Run it in this folder after changing a template or a case.
"""

import json
from datetime import datetime
from pathlib import Path

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

HERE = Path(__file__).parent


class GenerationTag(Extension):
    """`{% generation %}`: the body is printed as it is."""

    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(lineno)

    def _body(self, caller):
        return caller()


def render(source, messages, tools, add_generation_prompt, variables):
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[GenerationTag, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return env.from_string(source).render(messages=messages, tools=tools, documents=None,
                                          add_generation_prompt=add_generation_prompt, **variables)


TOOLS = [{
    "type": "function",
    "function": {
        "name": "find_items",
        "description": "Finds <items> & prices in 'shops'; äöü 你好",
        "parameters": {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": {"type": "string"}, "default": None},
                "limit": {"type": "integer", "default": 10},
                "price": {"type": "number", "default": 1.5},
                "exact": {"type": "boolean", "default": True},
            },
            "required": ["items"],
        },
    },
}]
CALL = {"type": "function", "id": "call_1",
        "function": {"name": "find_items", "arguments": {"items": ["tea", "\"x\""], "limit": 2}}}
SHORT = [{"role": "user", "content": "  What is 17 + 25?\n"}]
LONG = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi 👋🏽"},
    {"role": "assistant", "content": "<think>\nwho?\n</think>\n\nHello <b>you</b>"},
    {"role": "user", "content": "Tea?"},
]
TOOL_TURN = LONG + [
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "{\"price\": 3.5}"},
    {"role": "assistant", "content": "3.50"},
]
EXTRA = {"z": 1, "a": [1.0, 1e16, 1e-05, -0.5, None, False, "é\u0007\"\\\n"], "empty": [{}, []]}

CASES = [
    ("chatml", SHORT, None, True, {}),
    ("chatml", LONG, None, False, {}),
    ("llama3", SHORT, None, True, {"bos_token": "<|begin_of_text|>", "date_string": "26 Jul 2024"}),
    ("llama3", TOOL_TURN, TOOLS, True, {"bos_token": "<|begin_of_text|>", "date_string": "x"}),
    ("llama3", LONG, None, False, {"date_string": "26 Jul 2024"}),
    ("qwen2.5", SHORT, None, True, {}),
    ("qwen2.5", LONG, TOOLS, True, {}),
    ("qwen2.5", TOOL_TURN, TOOLS, False, {}),
    ("qwen3", SHORT, None, True, {"enable_thinking": False}),
    ("qwen3", LONG, None, True, {}),
    ("qwen3", TOOL_TURN, TOOLS, False, {}),
    ("python", [{"role": "skip", "content": "no"}, {"role": "user", "content": "it's"},
                {"role": "user", "content": ["part", {"n": 1}, None]},
                {"role": "stop", "content": "no"}], TOOLS, False, {"extra": EXTRA}),
]

CORPUS = (["What is 17 + 25? The answer is 42. Words are sorted and reversed, stories are told.",
           "Hello world, this is a small corpus for a small tokenizer.", "def main():\n    return 0"]
          * 20 + ["Grüße aus Köln; 你好，世界; Привет мир; naïve café"] * 5)
TEXTS = ["", "Hello world", " Hello  world ", "What is 17+25?\n\n\tthe   end  ", "naïve café ﬁn Å",
         "你好，世界", "👋🏽 family: 👨‍👩‍👧‍👦!", "a\u0000b", "<|im_start|>user\nhi<|im_end|>", "it's WE'LL 1234567",
         "zero\u200bwidth \u00a0 nbsp\r\n\r\n x"]
QWEN_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
              r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_level():
    """Qwen2's pipeline with 500 tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=500, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(CORPUS, trainer)
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.add_special_tokens([AddedToken(n, special=True, normalized=False) for n in names])
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    # Left over from training: a loader must not apply it.
    tokenizer.enable_truncation(max_length=8)
    return tokenizer


def llama():
    """Llama 2's pipeline (sentencepiece BPE with byte fallback)."""
    seed = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    seed.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=460, show_progress=False, special_tokens=special,
                                  limit_alphabet=60)
    seed.train_from_iterator(CORPUS, trainer)
    spec = json.loads(seed.to_str())
    # Byte tokens belong to the vocabulary; only the first three are special.
    spec["added_tokens"] = spec["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                           decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return tokenizer


def main():
    renders = []
    for name, messages, tools, add, variables in CASES:
        source = (HERE / "templates" / f"{name}.jinja").read_text()
        renders.append({"template": name, "messages": messages, "tools": tools, "add": add,
                        "variables": variables,
                        "expected": render(source, messages, tools, add, variables)})
    encodings = []
    for name, tokenizer in [("byte_level", byte_level()), ("llama", llama())]:
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        (folder / "tokenizer.json").write_text(tokenizer.to_str() + "\n")
        tokenizer.no_truncation()
        for text in TEXTS:
            for add in (False, True):
                ids = tokenizer.encode(text, add_special_tokens=add).ids
                encodings.append({"tokenizer": name, "text": text, "add": add, "ids": ids,
                                  "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                                  "decoded_plain": tokenizer.decode(ids, skip_special_tokens=True)})
    out = {"renders": renders, "encodings": encodings}
    (HERE / "expected.json").write_text(json.dumps(out, ensure_ascii=True, indent=1) + "\n")


main()
