"""The comparison as one HTML file that loads nothing from elsewhere."""

import json
from html import escape

from bench_compare import text
from bench_compare.plot import render

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1a202c; }}
pre {{ background: #f7fafc; padding: 1rem; overflow-x: auto; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
td, th {{ border: 1px solid #cbd5e0; padding: .3rem .7rem; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
svg {{ max-width: 100%; height: auto; }}
summary {{ cursor: pointer; }}
</style></head><body>
<h1>{title}</h1>
<p><strong>{verdict}</strong></p>
<pre>{summary}</pre>
{table}
{plot}
<p>{method}</p>
{notes}
{sources}
</body></html>
"""


def table(comparisons):
    rows = []
    for each in comparisons:
        metric = each.metric
        low, high = each.change_interval
        cells = [
            metric.name,
            text.value(metric, each.baseline_median),
            text.value(metric, each.optimized_median),
            text.percent(each.change),
            f"{text.percent(low)} to {text.percent(high)}",
            text.p_text(each),
            text.count_text(each),
        ]
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    names = ("Metric", "Baseline", "Optimized", "Change", "95% interval", "Test", "Samples")
    head = "".join(f"<th>{name}</th>" for name in names)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def source(name, results):
    """How a file came to be: everything in it but the questions' own entries."""
    shown = {key: part for key, part in results.data.items() if key not in ("results", "runs")}
    body = escape(json.dumps(shown, indent=2, ensure_ascii=False))
    return f"<details><summary>{name}: {escape(str(results.path))}</summary><pre>{body}</pre></details>"


def page(baseline, optimized, comparisons, threshold, alpha):
    drawing = render(comparisons, "svg").decode()
    return PAGE.format(
        title=escape(f"{baseline.path.name} and {optimized.path.name}"),
        verdict=escape(text.verdict(comparisons, threshold)),
        summary=escape(text.seed_lines(comparisons)),
        table=table(comparisons),
        plot=drawing[drawing.index("<svg") :],
        method=escape(text.method_lines(alpha)),
        notes="".join(f"<p>{escape(line)}</p>" for line in text.differences(baseline, optimized)),
        sources=source("Baseline", baseline) + source("Optimized", optimized),
    )
