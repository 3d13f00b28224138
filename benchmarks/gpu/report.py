"""Joins the measurements of benchmarks/gpu/run.sh into results.json and prints them beside their bars."""

import argparse
import json
from pathlib import Path

# measurement -> field -> bar; "+" at least, "-" at most. For the models named here alone.
BARS = {
    "decode-large-b1": {"model": "qwen2.5-7b", "fraction": ("+", 0.50)},
    "decode-large-b8": {"model": "qwen2.5-7b", "tokens_per_s": ("+", 2000)},
    "decode-large-b64": {"model": "qwen2.5-7b", "tokens_per_s": ("+", 6000)},
    "decode-small-b1": {"model": "qwen2.5-0.5b", "tokens_per_s": ("+", 900)},
    "prefill-large": {"model": "qwen2.5-7b", "tokens_per_s": ("+", 20000)},
}
HOST_STEP_US, GAP_US, ALLOCATIONS = 60, 10, 0
PEER_RATIO = 2.5
ABLATION = {"qwen2.5-7b": 40, "qwen2.5-0.5b": 60}  # percent, batch 1
STREAM_GBS, STREAM_OVERLAP, STREAM_SLOWDOWN = 45, 0.80, 0.05


def verdict(value, bar, at_least=True) -> str:
    met = value >= bar if at_least else value <= bar
    return f"{'met' if met else 'MISSED'} ({'>=' if at_least else '<='} {bar:g})"


def throughput_rows(name: str, r: dict) -> list[tuple[str, str, str]]:
    """One bench of decode or prefill: its rate, and what a step costs the host."""
    bars = BARS.get(name, {})
    applies = bars.get("model") == r["model"]
    spread = r["tokens_per_s_spread"]
    what = f"{r['mode']} {r['model']} batch {r['batch']}, prompt {r['prompt_tokens']}"

    def judged(field: str) -> str:
        return verdict(r[field], bars[field][1]) if applies and field in bars else ""

    rate = f"{r['tokens_per_s']:.1f} tok/s ({spread['min']:.1f} .. {spread['max']:.1f}; {r['repeat']} runs)"
    rows = [(what, rate, judged("tokens_per_s"))]
    if r["mode"] == "prefill":
        return rows
    host, allocations = r["host_step_us"], r["allocations_per_token"]
    gpu = r["backend"] != "cpu"
    bandwidth = f"{r['bandwidth_gbs']:.0f} of {r['bandwidth_measured_gbs']:.0f} GB/s: {100 * r['fraction']:.1f} %"
    return rows + [
        ("  read bandwidth", bandwidth, judged("fraction")),
        (
            "  host time per step",
            f"{host['p50']:.1f} us p50, {host['mean']:.1f} mean",
            verdict(host["p50"], HOST_STEP_US, False) if gpu else "",
        ),
        (
            "  gap between steps",
            f"{r['gap_p50_us']:.1f} us p50, {r['gap_p99_us']:.1f} p99",
            verdict(r["gap_p50_us"], GAP_US, False) if gpu else "",
        ),
        (
            "  device allocations per token",
            f"{allocations:g}",
            verdict(allocations, ALLOCATIONS, False),
        ),
        ("  peak device memory", f"{r['peak_device_mb']:.0f} MiB", ""),
    ]


def ablation_rows(r: dict) -> list[tuple[str, str, str]]:
    rows = [(f"ablation {r['model']} batch {r['batch']} ({r['repeat']} rounds)", "", "")]
    for c in r["combinations"]:
        name = " + ".join(part for part in ("pool", "blit", "ring") if c[part]) or "all off"
        change = 100 * c["change"]["tokens_per_s"]["median"]
        all_on = c["pool"] and c["blit"] and c["ring"]
        judged = all_on and r["batch"] == 1 and r["backend"] != "cpu"
        bar = ABLATION.get(r["model"]) if judged else None
        rate = f"{c['tokens_per_s']['median']:9.1f} tok/s  {change:+6.1f} %  ttft {c['ttft_ms']:.1f} ms"
        rows.append((f"  {name}", rate, verdict(change, bar) if bar else ""))
    return rows


def stream_rows(r: dict) -> list[tuple[str, str, str]]:
    s = r["kv"]
    gpu = not s["unified_memory"]
    what = f"KV stream {s['model']}: {s['stream_bytes'] / 1e9:.2f} GB in blocks of {s['block_bytes'] / 1e6:.2f} MB"
    idle = f"{s['out_without_decode_gb_per_s']:.1f} out, {s['in_without_decode_gb_per_s']:.1f} in GB/s without decode"
    rows = [(what, idle, "")]
    for turn in ("out", "in", "both"):
        t = s[turn]
        for way in ("out", "in"):
            rate = t.get(f"{way}_gb_per_s")
            if rate:
                bar = verdict(rate["median"], STREAM_GBS) if gpu and turn != "both" else ""
                rows.append((f"  {turn}: {way}", f"{rate['median']:.1f} GB/s", bar))
        overlap, slowdown = t["overlap_ratio"]["median"], t["slowdown"]["median"]
        rows.append(
            (
                f"  {turn}: overlap",
                f"{100 * overlap:.1f} %",
                verdict(overlap, STREAM_OVERLAP) if gpu else "",
            )
        )
        rows.append(
            (
                f"  {turn}: decode slowdown",
                f"{100 * slowdown:.1f} % ({t['alone_tokens_per_s']['median']:.1f} tok/s alone)",
                verdict(slowdown, STREAM_SLOWDOWN, False) if gpu else "",
            )
        )
    return rows


def peer_rows(results: dict, role: str) -> list[tuple[str, str, str]]:
    peer, ours = results.get(f"peer-{role}"), results.get(f"decode-{role}-b1")
    if not peer:
        return []
    ms = peer["ms_per_token"]
    rows = [
        (
            f"transformers {peer['shape']} ({peer['compile']})",
            f"{1000 / ms['median']:.1f} tok/s ({ms['median']:.3f} ms, {ms['min']:.3f} .. {ms['max']:.3f})",
            "",
        )
    ]
    checked = peer.get("check")
    if checked:
        what = "  its logits beside a pass without a cache"
        error = f"{checked['compiled']['rms_worst']:.3f} of their deviation; attention {checked['attention']}"
        rows.append((what, error, f"right (<= {checked['tolerance_rms']:g})"))
    same = (
        ours and peer["shape"] == ours["model"] and peer["prompt_tokens"] == ours["prompt_tokens"]
    )
    if same and peer["layers"] == 0:
        ratio = ours["tokens_per_s"] * ms["median"] / 1000
        rows.append(
            ("  krserve at batch 1 is", f"{ratio:.2f} times as fast", verdict(ratio, PEER_RATIO))
        )
    return rows


def rows_of(results: dict) -> list[tuple[str, str, str]]:
    rows = []
    for name, r in results.items():
        mode = r.get("mode")
        if mode in ("decode", "prefill"):
            rows += throughput_rows(name, r)
    for role in ("large", "small"):
        rows += peer_rows(results, role)
    for r in results.values():
        if r.get("mode") == "ablate":
            rows += ablation_rows(r)
        elif r.get("mode") == "load":
            rate = r["gb_per_s"]
            row = f"{rate['median']:.2f} GB/s ({rate['min']:.2f} .. {rate['max']:.2f})"
            rows.append((f"weights of {r['model']} from the page cache", row, ""))
        elif "kv" in r:
            rows += stream_rows(r)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", type=Path, required=True, help="folder with one JSON for each measurement"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json")
    options = parser.parse_args()
    results = {
        path.stem: json.loads(path.read_text()) for path in sorted(options.json.glob("*.json"))
    }
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    rows = rows_of(results)
    if not rows:
        print("nothing was measured")
        return
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for row in rows:
        print(f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}".rstrip())


main()
