"""Prints the figures of docs/MLX.md: errors of the quantized matmul, and texts that agree."""

import argparse
import tempfile
from pathlib import Path

import mlx.core as mx
import numpy as np
from test_generate import MODEL, Outcome, conversations
from test_quantized_ops import SHAPES, magnitudes, quantized, run_ops


def matmul_errors(bits, group_size, folder):
    """Largest |y - exact| over sum |x| (|scale| q + |bias|), by who computed y."""
    worst = {}
    for i, (n, k, rows) in enumerate(SHAPES):
        parts = quantized(n, k, bits, group_size, "bfloat16")
        x = mx.random.normal((rows, k)).astype(mx.bfloat16)
        wide = (parts[0], *(p.astype(mx.float32) for p in parts[1:]))
        weight = np.array(mx.dequantize(*wide, group_size, bits), dtype=np.float64)
        x64 = np.array(x.astype(mx.float32), dtype=np.float64)
        size = abs(x64) @ magnitudes(wide, bits, group_size).T.astype(np.float64)
        part = folder / f"{bits}-{group_size}-{i}"
        part.mkdir()
        results = {
            name.removeprefix("y."): y
            for name, y in run_ops(part, parts, x.astype(mx.float32)).items()
            if name.startswith("y.")
        }
        for name, own in (("mlx f32", wide), ("mlx bf16", parts)):
            own_x = x if name == "mlx bf16" else x.astype(mx.float32)
            y = mx.quantized_matmul(own_x, *own, True, group_size, bits)
            results[name] = np.array(y.astype(mx.float32))
        for name, y in results.items():
            worst[name] = max(worst.get(name, 0), float((abs(y - x64 @ weight.T) / size).max()))
    return worst


def print_errors():
    with tempfile.TemporaryDirectory() as folder:
        for bits in (4, 8):
            errors = matmul_errors(bits, 64, Path(folder))
            print(f"{bits} bit:", ", ".join(f"{name} {e:.1e}" for name, e in errors.items()))


def print_texts(step, dtype):
    chats = conversations(step)
    with tempfile.TemporaryDirectory() as folder:
        outcome = Outcome(MODEL, dtype, chats, Path(folder))
    print(
        f"mlx-lm in {'its own bf16' if dtype is None else 'f32'}: {outcome.agreeing} of "
        f"{len(chats)} texts agree, {outcome.answers} up to the end of the answer, "
        f"{outcome.tokens} tokens before the others part; prompts of "
        f"{min(outcome.prompt_lengths)} to {max(outcome.prompt_lengths)} tokens"
    )
    print("  leads in f32 where texts part:", [f"{lead:.1e}" for lead in sorted(outcome.leads)])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, default=10, help="every n-th held-out question")
    parser.add_argument("--bf16-step", type=int, default=62, help="the same in bf16 (slow)")
    arguments = parser.parse_args()
    print_errors()
    print_texts(arguments.step, mx.float32)
    print_texts(arguments.bf16_step, None)


if __name__ == "__main__":
    main()
