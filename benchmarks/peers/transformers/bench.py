"""The peer: Hugging Face transformers with a static cache and torch.compile, decoding greedily at batch 1.

The model has the shape of a config.json that `krserve synth` wrote, random bf16 weights, and the way of decoding that
transformers documents for speed: StaticCache, one compiled function for one token, CUDA graphs (mode reduce-overhead).
Tokens stay on the device until the run's end, which spares the peer a copy for each token that a server has to make.
"""

import argparse
import inspect
import json
import time
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, StaticCache


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder with the config.json")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int, default=0, help="0 = all; fewer for a dry run")
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--gen-tokens", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--mode", default="reduce-overhead", help="of torch.compile")
    parser.add_argument("--compile-only", action="store_true", help="fill the compiler's cache")
    parser.add_argument("--max-seconds", type=float, default=100, help="no run begins after that")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def random_model(options: argparse.Namespace):
    config = json.loads((options.model / "config.json").read_text())
    for key in ("quantization", "quantization_config"):
        config.pop(key, None)
    if options.layers:
        config["num_hidden_layers"] = options.layers
    config = AutoConfig.for_model(**config)
    torch.manual_seed(1)
    with torch.device(options.device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    return model.eval()


class Decoder:
    """Greedy decoding of one sequence with a static cache."""

    def __init__(self, model, options: argparse.Namespace):
        self.model = model
        self.device = options.device
        # Older versions are told where in the cache a token goes, newer ones count themselves.
        parameters = inspect.signature(type(model.model).forward).parameters
        self.takes_cache_position = "cache_position" in parameters
        length = options.prompt_tokens + options.gen_tokens
        self.cache = StaticCache(config=model.config, max_cache_len=length)
        self.compiled = torch.compile(self.next_token, mode=options.mode, fullgraph=True)

    def next_token(self, token, position):
        where = {"position_ids": position[None]}
        if self.takes_cache_position:
            where["cache_position"] = position
        out = self.model(
            token, past_key_values=self.cache, use_cache=True, logits_to_keep=1, **where
        )
        return out.logits[:, -1].argmax(-1, keepdim=True)

    def run(self, prompt, count: int) -> tuple[list[int], float]:
        """Tokens after the prompt, and the seconds that all but the first of them took."""
        self.cache.reset()
        token = self.next_token(prompt, torch.arange(prompt.shape[1], device=self.device))
        position = torch.tensor([prompt.shape[1]], device=self.device)
        tokens = [token]
        self.synchronize()
        start = time.perf_counter()
        for _ in range(count - 1):
            torch.compiler.cudagraph_mark_step_begin()
            token = self.compiled(token, position).clone()  # the graph's output is overwritten
            tokens.append(token)
            position += 1
        self.synchronize()
        return torch.cat(tokens, 1)[0].tolist(), time.perf_counter() - start

    def synchronize(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def spread(values: list[float]) -> dict:
    ordered, n = sorted(values), len(values)
    median = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    return {"median": median, "min": ordered[0], "max": ordered[-1]}


@torch.no_grad()
def main() -> None:
    options = parse()
    started = time.perf_counter()
    model = random_model(options)
    decoder = Decoder(model, options)
    vocabulary = model.config.vocab_size
    prompt = torch.randint(0, vocabulary, (1, options.prompt_tokens), device=options.device)
    for _ in range(3):  # compiles, captures, replays
        first, _ = decoder.run(prompt, min(8, options.gen_tokens))
    print(f"ready after {time.perf_counter() - started:.1f} s", flush=True)
    if options.compile_only:
        return
    milliseconds = []
    agreed = len(first)  # tokens that all runs share: random weights leave near ties, and cuBLAS need not repeat itself
    for i in range(options.repeat):
        if i > 0 and time.perf_counter() - started > options.max_seconds:
            break
        tokens, seconds = decoder.run(prompt, options.gen_tokens)
        same = next((n for n, (a, b) in enumerate(zip(tokens, first, strict=False)) if a != b), len(first))
        agreed = min(agreed, same)
        milliseconds.append(1000 * seconds / (options.gen_tokens - 1))
    result = {
        "peer": "transformers",
        "tokens_agreed": agreed,
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
        "device": torch.cuda.get_device_name() if options.device == "cuda" else options.device,
        "shape": options.model.name,
        "layers": options.layers,
        "dtype": "bfloat16",
        "cache": "static",
        "compile": f"torch.compile {options.mode}",
        "prompt_tokens": options.prompt_tokens,
        "gen_tokens": options.gen_tokens,
        "repeat": len(milliseconds),
        "ms_per_token": spread(milliseconds),
        "tokens_per_s": 1000 / spread(milliseconds)["median"],
        "runs_ms_per_token": milliseconds,
    }
    if options.device == "cuda":
        result["peak_device_mb"] = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


main()
