"""Reads a result file of flexible-benchmark; docs/BENCHMARKS.md describes the format."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

FORMAT = "krserve.benchmark/1"


class BadInput(Exception):
    """A file or argument that cannot be compared; the program exits with 2."""


@dataclass(frozen=True)
class Metric:
    name: str
    key: str  # in a question's entry
    run_key: str | None  # in a run's entry, for what one question alone does not have
    unit: str
    digits: int
    higher_is_better: bool
    scale: float = 1.0


METRICS = (
    Metric("Throughput", "tokens_per_second", "tokens_per_second", " tok/s", 2, True),
    Metric("TTFT", "ttft_ms", None, "ms", 1, False),
    Metric("GPU Util", "device_utilization", "device_utilization", "%", 0, True, 100.0),
)


@dataclass
class Results:
    path: Path
    data: dict
    # Values of one metric by what they belong to: a question's id, or a run's number.
    samples: dict[str, dict[str, float]] = field(default_factory=dict)
    # "question" or "run", by metric.
    per: dict[str, str] = field(default_factory=dict)

    @property
    def concurrency(self):
        return self.data.get("options", {}).get("concurrency", 1)


def number(entry, key, where):
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"{where}: {key} is {value!r}, not a number")
    if value < 0:
        raise BadInput(f"{where}: {key} is {value}; it cannot be below 0")
    return float(value)


def by_question(entries, metric, path):
    """Median over the repeats of each question; questions without the value are left out."""
    values = {}
    for at, entry in enumerate(entries):
        where = f"{path}: results[{at}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            raise BadInput(f"{where} has no id")
        value = number(entry, metric.key, where)
        # A rate of 0 belongs to an answer of one token: there is nothing to measure.
        if value is not None and (value > 0 or metric.name == "GPU Util"):
            values.setdefault(entry["id"], []).append(value * metric.scale)
    return {name: median(each) for name, each in values.items()}


def by_run(runs, metric, path):
    values = {}
    for at, run in enumerate(runs):
        value = number(run, metric.run_key, f"{path}: runs[{at}]")
        if value is not None:
            values[str(run.get("run", at))] = value * metric.scale
    return values


def read_results(path):
    """Throws BadInput for what is no result file or holds no answered question."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}") from error
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise BadInput(
            f"{path} is not a result of flexible-benchmark: format is {found!r}, not {FORMAT!r}"
        )
    entries, runs = data.get("results"), data.get("runs", [])
    if not isinstance(entries, list) or not isinstance(runs, list):
        raise BadInput(f"{path}: results and runs must be lists")
    entries = [entry for entry in entries if not (isinstance(entry, dict) and entry.get("error"))]
    results = Results(path, data)
    for metric in METRICS:
        # Questions answered beside each other share the device: only the whole run has a rate.
        whole_run = results.concurrency > 1 and metric.run_key is not None
        take = by_run(runs, metric, path) if whole_run else by_question(entries, metric, path)
        results.samples[metric.name] = take
        results.per[metric.name] = "run" if whole_run else "question"
    if not results.samples["Throughput"] or not results.samples["TTFT"]:
        raise BadInput(f"{path} holds no answered question with tokens_per_second and ttft_ms")
    return results
