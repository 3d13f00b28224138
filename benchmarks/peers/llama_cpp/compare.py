"""krserve and llama.cpp in turns on one machine, same shape and bits per weight: decode, decode of a batch, prefill.

    npm install node-llama-cpp@3.22.1 --ignore-scripts && pip install gguf numpy && python make_model.py MODEL.gguf
    python compare.py --gguf MODEL.gguf --model QWEN2.5_0.5B_4BIT_DIR --json FILE

bench.mjs must lie beside node_modules; --node-dir names that folder.
"""

import argparse
import datetime
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROMPT, GEN, BATCH = 128, 64, 8


def krserve(arguments: argparse.Namespace, mode: str, batch: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.json"
        command = [arguments.krserve, "bench", "--mode", mode, "--model", arguments.model]
        command += ["--batch", batch, "--prompt-tokens", PROMPT, "--gen-tokens", GEN]
        command += ["--repeat", 1, "--json", path]
        subprocess.run(
            list(map(str, command)),
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return json.loads(path.read_text())["tokens_per_s"]


def llama_cpp(arguments: argparse.Namespace) -> dict:
    numbers = [arguments.threads, PROMPT, GEN, 1, BATCH]
    command = ["node", arguments.node_dir / "bench.mjs", arguments.gguf.resolve(), *numbers]
    done = subprocess.run(
        list(map(str, command)), check=True, capture_output=True, text=True, cwd=arguments.node_dir
    )
    return json.loads(done.stdout.splitlines()[-1])


def spread(values: list[float]) -> dict:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--krserve", default="build/release/bin/krserve")
    parser.add_argument("--node-dir", type=Path, default=HERE)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    kinds = ("decode", "decode_batch", "prefill")
    ours: dict[str, list[float]] = {kind: [] for kind in kinds}
    theirs: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(arguments.rounds):
        ours["decode"].append(krserve(arguments, "decode", 1))
        ours["decode_batch"].append(krserve(arguments, "decode", BATCH))
        ours["prefill"].append(krserve(arguments, "prefill", 1))
        peer = llama_cpp(arguments)
        for kind in kinds:
            theirs[kind] += peer[kind]
    result = {
        "command": f"compare.py --rounds {arguments.rounds} --threads {arguments.threads}",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "peer": "llama.cpp of node-llama-cpp 3.22.1 (prebuilt), Q4_0",
        "shape": "qwen2.5-0.5b, 4.5 bits per weight",
        "prompt_tokens": PROMPT,
        "gen_tokens": GEN,
        "batch": BATCH,
        "tokens_per_s": {},
    }
    for kind in kinds:
        ratio = [a / b for a, b in zip(ours[kind], theirs[kind], strict=True)]
        row = {
            name: spread(v)
            for name, v in (("krserve", ours[kind]), ("llama_cpp", theirs[kind]), ("ratio", ratio))
        }
        result["tokens_per_s"][kind] = row
        print(kind, {name: [round(x, 2) for x in v.values()] for name, v in row.items()})
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
