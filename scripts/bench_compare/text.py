"""The report on the terminal: the seed document's lines, then what stands behind them."""

from bench_compare.comparison import MIN_SAMPLES, RESAMPLES, regressions
from bench_compare.results import METRICS

# How the seed document names the change of each metric.
CHANGE_NAMES = {
    "Throughput": "Improvement",
    "TTFT": "TTFT Reduction",
    "GPU Util": "Utilization Gain",
}


def mark(comparison):
    if not comparison.significant:
        return "(not significant)"
    return "✅" if comparison.gain > 0 else "❌"


def value(metric, number):
    return f"{number:.{metric.digits}f}{metric.unit}"


def percent(fraction):
    return f"{fraction * 100:+.1f}%"


def seed_lines(comparisons):
    """Three lines for each metric, in the seed document's form."""
    found = {each.metric.name: each for each in comparisons}
    blocks = []
    for metric in METRICS:
        each = found.get(metric.name)
        texts = ["not in both files"] * 2
        if each:
            texts = [value(metric, each.baseline_median), value(metric, each.optimized_median)]
        if metric.name == "Throughput":  # aligned at the decimal point
            lines = [
                f"{f'{side} Throughput:':<23}{text:>12}"
                for side, text in zip(("Baseline", "Optimized"), texts, strict=True)
            ]
        else:
            lines = [
                f"{f'{side} {metric.name}:':<24}{text}"
                for side, text in zip(("Baseline", "Optimized"), texts, strict=True)
            ]
        if each:
            lines.append(
                f"{CHANGE_NAMES[metric.name] + ':':<24}{percent(each.change)} {mark(each)}"
            )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def p_text(each):
    if not each.enough:
        return f"too few for a verdict (at least {MIN_SAMPLES} are needed)"
    low = 1 / (RESAMPLES + 1)
    return f"p < {low * 3:.1g}" if each.p_value <= low * 3 else f"p = {each.p_value:.3g}"


def count_text(each):
    if each.paired:
        return f"{len(each.baseline)} {each.per}s, paired"
    return f"{len(each.baseline)} and {len(each.optimized)} {each.per}s, unpaired"


def detail_lines(comparisons):
    lines = ["Median [95% confidence interval], change, test:"]
    for each in comparisons:
        digits = max(each.metric.digits, 1)
        sides = [
            f"{median:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
            for median, (low, high) in (
                (each.baseline_median, each.baseline_interval),
                (each.optimized_median, each.optimized_interval),
            )
        ]
        low, high = each.change_interval
        lines.append(
            f"  {each.metric.name:<11}{sides[0]} -> {sides[1]}{each.metric.unit}; "
            f"{percent(each.change)} [{percent(low)}, {percent(high)}]; "
            f"{p_text(each)}; {count_text(each)}"
        )
    return "\n".join(lines)


def method_lines(alpha):
    return (
        f"Tests: paired by question, sign-flip permutation of the log ratios; otherwise permutation of "
        f"the difference of medians\n({RESAMPLES} draws, two-sided, Holm over the metrics, "
        f"significant below {alpha:g}). Intervals: percentile bootstrap, {RESAMPLES} resamples."
    )


def differences(baseline, optimized):
    """What makes the two files hard to compare, one line each."""
    lines = []
    for path in (
        "model.name",
        "options.max_tokens",
        "options.concurrency",
        "machine.cpu",
        "device.name",
    ):
        sides = []
        for results in (baseline, optimized):
            found = results.data
            for part in path.split("."):
                found = found.get(part) if isinstance(found, dict) else None
            sides.append(found)
        if sides[0] != sides[1]:
            lines.append(f"note: {path} differs: {sides[0]!r} and {sides[1]!r}")
    for results in (baseline, optimized):
        if results.data.get("complete") is False:
            lines.append(f"note: {results.path} was interrupted; it holds what was there")
        failed = [e for e in results.data["results"] if isinstance(e, dict) and e.get("error")]
        if failed:
            lines.append(f"note: {results.path} has {len(failed)} failed requests, left out")
    return lines


def verdict(comparisons, threshold):
    worse = regressions(comparisons, threshold)
    if worse:
        names = ", ".join(f"{each.metric.name} {percent(each.change)}" for each in worse)
        return f"Verdict: regression beyond {threshold:g}%: {names}"
    better = [
        c for c in comparisons if c.significant and c.gain > 0 and c.metric.name != "GPU Util"
    ]
    if better:
        names = ", ".join(f"{each.metric.name} {percent(each.change)}" for each in better)
        return f"Verdict: significantly better: {names}; no regression beyond {threshold:g}%"
    if not any(each.enough for each in comparisons):
        return "Verdict: none, too few measurements"
    return f"Verdict: no significant regression beyond {threshold:g}%"


def report(baseline, optimized, comparisons, threshold, alpha):
    parts = [seed_lines(comparisons), detail_lines(comparisons), method_lines(alpha)]
    if notes := differences(baseline, optimized):
        parts.append("\n".join(notes))
    parts.append(verdict(comparisons, threshold))
    return "\n\n".join(parts)
