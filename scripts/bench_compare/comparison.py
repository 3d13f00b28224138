"""Medians, bootstrap confidence intervals and permutation tests of two sets of measurements."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from bench_compare.results import METRICS, Metric, Results

RESAMPLES = 10_000
SEED = 20_251_109
CONFIDENCE = 0.95
EXACT_UP_TO = 12  # pairs: all 2^n sign patterns instead of random ones
MIN_SAMPLES = 6  # with fewer no pattern of signs is rarer than 5 %


@dataclass
class Comparison:
    metric: Metric
    paired: bool
    per: str  # "question" or "run"
    baseline: np.ndarray
    optimized: np.ndarray
    baseline_median: float
    optimized_median: float
    baseline_interval: tuple[float, float]
    optimized_interval: tuple[float, float]
    change: float  # optimized / baseline - 1, of the medians
    change_interval: tuple[float, float]
    p_value: float  # after Holm's correction over the metrics; nan with too few samples
    significant: bool = False

    @property
    def gain(self):
        """The change, counted so that more is better."""
        return self.change if self.metric.higher_is_better else -self.change

    @property
    def enough(self):
        return not np.isnan(self.p_value)


def interval(values):
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def sign_flip_p(differences, generator):
    """Two-sided p of the mean under random signs (a paired permutation test)."""
    count = len(differences)
    if count <= EXACT_UP_TO:
        signs = np.array(list(product((1.0, -1.0), repeat=count)))
        means = np.abs(signs @ differences)
        return float(np.mean(means >= abs(differences.sum()) * (1 - 1e-12)))
    signs = generator.choice((1.0, -1.0), size=(RESAMPLES, count))
    means = np.abs(signs @ differences)
    hits = np.count_nonzero(means >= abs(differences.sum()) * (1 - 1e-12))
    return (hits + 1) / (RESAMPLES + 1)


def shuffle_p(a, b, generator):
    """Two-sided p of the difference of medians under random assignment to the two sets."""
    pooled = np.concatenate([a, b])
    shuffled = generator.permuted(np.tile(pooled, (RESAMPLES, 1)), axis=1)
    differences = np.median(shuffled[:, : len(a)], axis=1) - np.median(
        shuffled[:, len(a) :], axis=1
    )
    observed = abs(np.median(a) - np.median(b))
    hits = np.count_nonzero(np.abs(differences) >= observed * (1 - 1e-12))
    return (hits + 1) / (RESAMPLES + 1)


def bootstrap_medians(a, b, paired, generator):
    """Medians of RESAMPLES resamples of each; the same questions of both when paired."""
    picks = generator.integers(len(a), size=(RESAMPLES, len(a)))
    others = picks if paired else generator.integers(len(b), size=(RESAMPLES, len(b)))
    return np.median(a[picks], axis=1), np.median(b[others], axis=1)


def compare_metric(metric, baseline: Results, optimized: Results):
    """None when a file lacks the metric."""
    first, second = baseline.samples[metric.name], optimized.samples[metric.name]
    if not first or not second:
        return None
    per = baseline.per[metric.name]
    # A run has no partner in the other file; a question has itself.
    paired = per == optimized.per[metric.name] == "question" and first.keys() == second.keys()
    a = np.array([first[key] for key in sorted(first)])
    b = np.array([second[key] for key in sorted(second)])
    generator = np.random.default_rng(SEED)
    a_medians, b_medians = bootstrap_medians(a, b, paired, generator)
    with np.errstate(divide="ignore", invalid="ignore"):
        changes = b_medians / a_medians - 1
        change = float(np.median(b) / np.median(a) - 1)
    p_value = float("nan")
    if min(len(a), len(b)) >= MIN_SAMPLES:
        logs = paired and a.min() > 0 and b.min() > 0
        differences = (np.log(b) - np.log(a) if logs else b - a) if paired else None
        p_value = sign_flip_p(differences, generator) if paired else shuffle_p(a, b, generator)
    return Comparison(
        metric, paired, per, a, b, float(np.median(a)), float(np.median(b)),
        interval(a_medians), interval(b_medians), change, interval(changes), p_value,
    )  # fmt: skip


def correct_for_several(comparisons, alpha):
    """Holm: the smallest p counts times the number of tests, the next one less, and so on."""
    tested = sorted((c for c in comparisons if c.enough), key=lambda c: c.p_value)
    highest = 0.0
    for rank, each in enumerate(tested):
        highest = max(highest, min(1.0, each.p_value * (len(tested) - rank)))
        each.p_value = highest
        each.significant = highest < alpha


def compare(baseline: Results, optimized: Results, alpha):
    found = [compare_metric(metric, baseline, optimized) for metric in METRICS]
    comparisons = [each for each in found if each is not None]
    correct_for_several(comparisons, alpha)
    return comparisons


def regressions(comparisons, threshold_percent):
    """Significantly worse by more than the threshold.

    Utilization alone is no loss: less of it at the same speed is a gain.
    """
    return [
        each
        for each in comparisons
        if each.metric.name != "GPU Util"
        and each.significant
        and -each.gain * 100 > threshold_percent
    ]
