"""Prints the figures of docs/MLX.md: texts that agree with mlx-lm in f32 and in its own dtype."""

import argparse
import tempfile
from pathlib import Path

import mlx.core as mx
from test_generate import MODEL, Outcome, conversations


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, default=30, help="every n-th held-out question")
    parser.add_argument("--bf16", action="store_true", help="mlx-lm as it loads the model (slow)")
    arguments = parser.parse_args()
    chats = conversations(arguments.step)
    dtype = None if arguments.bf16 else mx.float32
    with tempfile.TemporaryDirectory() as folder:
        outcome = Outcome(MODEL, dtype, chats, Path(folder))
    print(f"{outcome.agreeing} of {len(chats)} texts agree; {outcome.tokens} tokens compared;")
    print(f"prompts of {min(outcome.prompt_lengths)} to {max(outcome.prompt_lengths)} tokens;")
    leads = sorted(outcome.leads)
    print(f"leads in f32 where the others part: {[f'{lead:.1e}' for lead in leads]}")


if __name__ == "__main__":
    main()
