"""The peer: Hugging Face transformers with a static cache and torch.compile, decoding greedily at batch 1.

The model has the shape of a config.json that `krserve synth` wrote, random bf16 weights, and the way of decoding that
transformers documents for speed: StaticCache, one compiled function for one token, CUDA graphs (mode reduce-overhead).
Tokens stay on the device until the run's end, which spares the peer a copy for each token that a server has to make.
Before it is measured its logits are compared with those of a forward pass without a cache; wrong ones are not measured.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
import transformers
from torch._dynamo.utils import counters
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoConfig, AutoModelForCausalLM, StaticCache

# Root mean square of the difference between two rows of logits, relative to the row's standard deviation. Two correct ways
# through 28 layers in bf16 differ by about 0.03, a cache that counts wrong by 0.3 and more; check() looks at both each time.
TOLERANCE = 0.10
COMPILE = {"trees": "reduce-overhead", "explicit": "default, one CUDA graph", "none": "default"}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder with the config.json")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--layers", type=int, default=0, help="0 = all; fewer for a dry run")
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--gen-tokens", type=int, default=128)
    parser.add_argument("--check-tokens", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument(
        "--graphs",
        default="trees",
        choices=tuple(COMPILE),
        help="torch.compile's reduce-overhead, one CUDA graph captured here, or mode default",
    )
    parser.add_argument(
        "--attention",
        nargs="+",
        default=["default", "no-cudnn"],
        choices=("default", "no-cudnn"),
        help="what scaled_dot_product_attention may choose from; the first whose logits are right",
    )
    parser.add_argument("--tune", action="store_true", help="coordinate descent; compiles longer")
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
        config.pop("layer_types", None)
    config = AutoConfig.for_model(**config)
    torch.manual_seed(1)
    with torch.device(options.device):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, options.dtype))
    for name, weight in model.named_parameters():
        if weight.dim() == 2:  # attention to few keys: the logits must tell a wrong one
            gain = 1.25 if "q_proj" in name or "k_proj" in name else 1.0
            weight.normal_(0, gain / math.sqrt(weight.shape[1]))
    return model.eval()


class Decoder:
    """Decoding of one sequence with a static cache, which counts its positions itself, on the device."""

    def __init__(self, model, options: argparse.Namespace):
        self.model = model
        self.device = options.device
        length = options.prompt_tokens + max(options.gen_tokens, options.check_tokens)
        self.cache = StaticCache(config=model.config, max_cache_len=length)
        mode = "reduce-overhead" if options.graphs == "trees" else "default"
        self.compiled = torch.compile(self.eager, mode=mode, fullgraph=True)
        self.explicit, self.graph = options.graphs == "explicit" and self.device == "cuda", None

    def eager(self, tokens):
        """The token after these, and the logits that it has the most of."""
        out = self.model(tokens, past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        logits = out.logits[:, -1]
        return logits.argmax(-1, keepdim=True), logits

    def fast(self, token):
        """The same for one token; what it returns is overwritten by the next call."""
        if not self.explicit:
            torch.compiler.cudagraph_mark_step_begin()
            return self.compiled(token)
        self.token.copy_(token)
        self.graph.replay()
        return self.outputs

    def prefill(self, prompt):
        """Never compiled, as in generate(); the first one allocates the cache, the others find it at the same address."""
        self.cache.reset()
        return self.eager(prompt)[0]

    def warm(self, prompt) -> None:
        token = self.prefill(prompt)
        for _ in range(4):  # compiles, captures, replays
            torch.compiler.cudagraph_mark_step_begin()
            self.compiled(token)
        if self.device == "cuda" and counters["inductor"]["cudagraph_skips"]:
            raise SystemExit("[peer.warm] torch left CUDA graphs out; try --graphs explicit")
        if not self.explicit:
            return
        self.token, self.graph = token.clone(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = self.compiled(self.token)

    def generate(self, prompt, count: int) -> tuple[list[int], float]:
        """Tokens after the prompt, and the seconds that all but the first of them took."""
        tokens = [self.prefill(prompt)]
        self.synchronize()
        start = time.perf_counter()
        for _ in range(count - 1):
            tokens.append(self.fast(tokens[-1])[0].clone())
        self.synchronize()
        return torch.cat(tokens, 1)[0].tolist(), time.perf_counter() - start

    def logits(self, step, prompt, forced):
        """After each of the forced tokens, whatever the model would rather have."""
        self.prefill(prompt)
        tokens = [token.view(1, 1).clone() for token in forced[0]]  # strides as in generate()
        return torch.cat([step(token)[1].clone() for token in tokens])

    def synchronize(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def difference(logits, reference) -> dict:
    """Root mean square (of each row; the worst and the median) and maximum, relative to the rows' deviation."""
    error, deviation = logits.float() - reference.float(), reference.float().std(-1)
    rms = error.square().mean(-1).sqrt() / deviation
    same = logits.argmax(-1) == reference.argmax(-1)
    return {
        "rms_worst": rms.max().item(),
        "rms_median": rms.median().item(),
        "max_abs": (error.abs().amax(-1) / deviation).max().item(),
        "argmax_agreed": f"{same.sum().item()} of {same.numel()}",
    }


def check(decoder: Decoder, prompt, count: int) -> dict:
    """Compares with a pass over the whole sequence without a cache and without fused attention.

    Eager decoding first, then compiled, twice. Two passes with the faults of a bad cache show that faults would be seen.
    """
    forced = torch.randint(0, decoder.model.config.vocab_size, (1, count), device=prompt.device)
    positions = torch.arange(prompt.shape[1] + count, device=prompt.device)

    def whole(tail, positions):
        tokens = torch.cat([prompt, tail], 1)
        mask = torch.ones_like(tokens)  # else a gap in the positions is taken for a second sequence
        with sdpa_kernel(SDPBackend.MATH):
            return decoder.model(
                tokens, attention_mask=mask, position_ids=positions[None], use_cache=False,
                logits_to_keep=tail.shape[1],
            ).logits[0]  # fmt: skip

    before, after = positions.split([prompt.shape[1], count])
    reference = whole(forced, positions)
    shifted = whole(forced, torch.cat([before, after + 1]))
    lost = whole(forced[:, -1:], torch.cat([before, after[-1:]]))
    result = {
        "against": "one pass without a cache, attention by the math backend",
        "tokens": count,
        "tolerance_rms": TOLERANCE,
        "positions_off_by_one": difference(shifted, reference),
        "decoded_tokens_lost": difference(lost, reference[-1:]),
        "eager": difference(decoder.logits(decoder.eager, prompt, forced), reference),
    }
    for fault in ("positions_off_by_one", "decoded_tokens_lost"):
        if not result[fault]["rms_median"] > TOLERANCE:
            raise SystemExit(f"[peer.check] {fault}: below the tolerance, so not seen: {result}")
    result["right"] = result["eager"]["rms_worst"] <= TOLERANCE
    if result["right"]:  # else nothing need be compiled to know
        decoder.warm(prompt)
        rows = [decoder.logits(decoder.fast, prompt, forced) for _ in range(2)]
        result["compiled"], result["again"] = (difference(row, reference) for row in rows)
        result["repeats_bit_for_bit"] = torch.equal(*rows)
        result["right"] = all(result[x]["rms_worst"] <= TOLERANCE for x in ("compiled", "again"))
    return result


def spread(values: list[float]) -> dict:
    ordered, n = sorted(values), len(values)
    median = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    return {"median": median, "min": ordered[0], "max": ordered[-1]}


def agreed(runs: list[list[int]]) -> int:
    """How many tokens all runs begin with: of two nearly equal logits, either may win."""
    differ = (i for i, tokens in enumerate(zip(*runs, strict=True)) if len(set(tokens)) > 1)
    return next(differ, len(runs[0]))


def checked_decoder(model, prompt, options: argparse.Namespace) -> tuple[Decoder, dict]:
    for attention in options.attention:
        torch.backends.cuda.enable_cudnn_sdp(attention == "default")
        torch.compiler.reset()
        torch.compiler.config.cache_key_tag = attention  # not among what the cache looks at
        decoder = Decoder(model, options)
        result = {"attention": attention} | check(decoder, prompt, options.check_tokens)
        if result["right"]:
            return decoder, result
        print(f"attention {attention}: wrong logits: {json.dumps(result)}", flush=True)
    raise SystemExit(
        f"[peer.check] logits beyond {TOLERANCE} with attention {' and '.join(options.attention)}: not measured; "
        "if 'eager' is right and 'compiled' is not, try --graphs explicit"
    )


@torch.no_grad()
def main() -> None:
    options = parse()
    torch._inductor.config.coordinate_descent_tuning = options.tune
    torch._dynamo.config.error_on_recompile = True  # one compilation serves all tokens
    started = time.perf_counter()
    model = random_model(options)
    print(f"weights after {time.perf_counter() - started:.1f} s", flush=True)
    shape = (1, options.prompt_tokens)
    prompt = torch.randint(0, model.config.vocab_size, shape, device=options.device)
    decoder, checked = checked_decoder(model, prompt, options)
    print(f"ready after {time.perf_counter() - started:.1f} s: {json.dumps(checked)}", flush=True)
    if options.compile_only:
        return
    decoder.generate(prompt, min(8, options.gen_tokens))
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    milliseconds, runs = [], []
    while len(runs) < options.repeat:
        if runs and time.perf_counter() - started > options.max_seconds:
            break
        tokens, seconds = decoder.generate(prompt, options.gen_tokens)
        runs.append(tokens)
        milliseconds.append(1000 * seconds / (options.gen_tokens - 1))
    result = {
        "peer": "transformers",
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
        "device": torch.cuda.get_device_name() if options.device == "cuda" else options.device,
        "shape": options.model.name,
        "layers": options.layers,
        "dtype": options.dtype,
        "cache": "static",
        "compile": f"torch.compile {COMPILE[options.graphs]}{', tuned' if options.tune else ''}",
        "check": checked,
        "tokens_agreed": agreed(runs),
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


if __name__ == "__main__":
    main()
