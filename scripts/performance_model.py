"""Predicts a token's time from the costs that `krserve doctor` measures, and compares with `krserve bench`.

    .venv/bin/python scripts/performance_model.py MODEL_DIR... --json docs/results/FILE.json

One run, one machine: doctor, then for each model bench --mode decode, then doctor again; costs are means of the two.
docs/PERFORMANCE_MODEL.md explains the terms.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

BARRIERS_PER_LAYER = 9  # norm, q+k+v, rope, attention, o, norm, gate+up, silu, down
BARRIERS_OUTSIDE = 4  # embedding, final norm, head, sampling


def run_json(command: list[str]) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.json"
        subprocess.run([*command, "--json", str(path)], check=True, stdout=subprocess.DEVNULL)
        return json.loads(path.read_text())


def predict(costs: dict, bytes_per_token: float, layers: int, gap_us: float) -> dict:
    """Microseconds per token at batch 1, term by term."""
    barriers = BARRIERS_PER_LAYER * layers + BARRIERS_OUTSIDE
    terms = {
        "weights_us": bytes_per_token / costs["matmul_gbs"] / 1e3,
        "barriers_us": barriers * costs["dispatch_us"],
        "gap_us": gap_us,
    }
    total = sum(terms.values())
    ceiling = bytes_per_token / costs["bandwidth_measured_gbs"] / 1e3
    return terms | {
        "total_us": total,
        "tokens_per_s": 1e6 / total,
        "ceiling_tokens_per_s": 1e6 / ceiling,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--krserve", default="build/release/bin/krserve")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    doctor = [arguments.krserve, "doctor"]
    before = run_json(doctor)
    benches = {
        path.name: run_json(
            [arguments.krserve, "bench", "--mode", "decode", "--model", str(path)]
            + ["--repeat", str(arguments.repeat)]
        )
        for path in arguments.models
    }
    after = run_json(doctor)
    keys = ("matmul_gbs", "dispatch_us", "bandwidth_measured_gbs", "launch_us")
    costs = {key: (before[key] + after[key]) / 2 for key in keys}

    rows = []
    print("| model | ceiling | predicted | measured | difference |\n|---|---|---|---|---|")
    for path in arguments.models:
        bench = benches[path.name]
        layers = json.loads((path / "config.json").read_text())["num_hidden_layers"]
        gap = bench["statistics"]["ring"]["gap_p50_us"]
        predicted = predict(costs, bench["bytes_per_token"], layers, gap)
        measured = bench["tokens_per_s_spread"]
        difference = predicted["tokens_per_s"] / measured["median"] - 1
        rows.append(
            {
                "model": path.name,
                "layers": layers,
                "bytes_per_token": bench["bytes_per_token"],
                "predicted": predicted,
                "measured": measured,
                "difference": difference,
            }
        )
        print(
            f"| {path.name} | {predicted['ceiling_tokens_per_s']:.1f} "
            f"| {predicted['tokens_per_s']:.1f} "
            f"| {measured['median']:.1f} ({measured['min']:.1f} .. {measured['max']:.1f}) "
            f"| {difference:+.0%} |"
        )
    if arguments.json:
        names = " ".join(path.name for path in arguments.models)
        result = {
            "command": f"scripts/performance_model.py {names} --repeat {arguments.repeat}",
            "date": after["date"],
            "machine": after["machine"],
            "version": after["version"],
            "costs": costs,
            "models": rows,
        }
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
