"""Draws a comparison: each metric's two distributions, and the change of each question."""

import io

import matplotlib

matplotlib.use("Agg")  # no display needed

import numpy as np
from matplotlib import pyplot

COLOURS = ("#8c8c8c", "#2b6cb0")
# The same file gives the same picture, byte for byte.
STYLE = {"svg.hashsalt": "krserve", "svg.fonttype": "none", "font.size": 9}


def draw_metric(axes, each):
    generator = np.random.default_rng(0)
    sides = ((each.baseline, each.baseline_interval), (each.optimized, each.optimized_interval))
    for place, (values, (low, high)) in enumerate(sides):
        spread = place + generator.uniform(-0.18, 0.18, len(values))
        axes.plot(spread, values, ".", color=COLOURS[place], alpha=0.45, markersize=4)
        middle = float(np.median(values))
        axes.errorbar(
            place, middle, yerr=[[max(middle - low, 0)], [max(high - middle, 0)]],
            fmt="_", color="black", markersize=26, capsize=6,
        )  # fmt: skip
    axes.set_xticks((0, 1), ("baseline", "optimized"))
    axes.set_xlim(-0.6, 1.6)
    axes.set_ylabel(f"{each.metric.name} ({each.metric.unit.strip()})")
    axes.set_title(
        f"{each.change * 100:+.1f} %" + ("" if each.significant else ", not significant")
    )
    axes.grid(axis="y", alpha=0.3)


def draw_changes(axes, comparisons):
    """Sorted change of each question, for the metrics that are paired."""
    for each, colour in zip(comparisons, ("#2b6cb0", "#c05621", "#2f855a"), strict=False):
        if each.paired and each.baseline.min() > 0:
            changes = np.sort(each.optimized / each.baseline - 1) * 100
            places = np.linspace(0, 100, len(changes))
            axes.plot(places, changes, color=colour, label=each.metric.name)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("questions, sorted (%)")
    axes.set_ylabel("change (%)")
    axes.set_title("change by question")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")
    axes.grid(alpha=0.3)


def render(comparisons, kind):
    """The picture's bytes; kind is png or svg."""
    with matplotlib.rc_context(STYLE):
        count = len(comparisons) + 1
        figure, axes = pyplot.subplots(1, count, figsize=(3.4 * count, 3.6), layout="constrained")
        for place, each in zip(axes, comparisons, strict=False):
            draw_metric(place, each)
        draw_changes(axes[-1], comparisons)
        out = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(out, format=kind, dpi=150, metadata=metadata)
        pyplot.close(figure)
        return out.getvalue()
