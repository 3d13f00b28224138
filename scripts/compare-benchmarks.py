#!/usr/bin/env python3
"""Compares two results of benchmarks/flexible-benchmark.ts.

    python scripts/compare-benchmarks.py results/baseline.json results/optimized.json

The report needs numpy, --plot and --html need matplotlib (scripts/requirements.txt pins both).
Exit status: 0; 1 for a significant regression beyond --threshold; 2 for input that cannot be
compared.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

EXIT_REGRESSION = 1
EXIT_BAD_INPUT = 2


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("baseline", type=Path)
    parser.add_argument("optimized", type=Path)
    parser.add_argument(
        "--threshold", type=float, default=5.0, metavar="PERCENT",
        help="a significant loss of throughput or rise of TTFT beyond it is a regression (default 5)",
    )  # fmt: skip
    parser.add_argument(
        "--alpha", type=float, default=0.05, help="significance level (default 0.05)"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture: .png or .svg")
    parser.add_argument("--html", type=Path, metavar="FILE", help="a self-contained report")
    options = parser.parse_args(arguments)
    if options.threshold < 0 or not 0 < options.alpha < 1:
        parser.error("--threshold is 0 or more, --alpha between 0 and 1")
    if options.plot and options.plot.suffix not in (".png", ".svg"):
        parser.error(f"--plot {options.plot}: give a name that ends in .png or .svg")
    return options


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    print(f"written: {path}")


def run(options):
    from bench_compare import comparison, results, text

    try:
        baseline = results.read_results(options.baseline)
        optimized = results.read_results(options.optimized)
    except results.BadInput as error:
        print(f"compare-benchmarks: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    found = comparison.compare(baseline, optimized, options.alpha)
    print(text.report(baseline, optimized, found, options.threshold, options.alpha))
    if options.plot:
        from bench_compare.plot import render

        write(options.plot, render(found, options.plot.suffix[1:]))
    if options.html:
        from bench_compare.html_report import page

        body = page(baseline, optimized, found, options.threshold, options.alpha)
        write(options.html, body.encode())
    return EXIT_REGRESSION if comparison.regressions(found, options.threshold) else 0


def main(arguments=None):
    options = parse(arguments)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a terminal without the check mark
    try:
        return run(options)
    except ModuleNotFoundError as error:
        print(
            f"compare-benchmarks: the package {error.name} is missing; "
            f"{sys.executable} -m pip install -r scripts/requirements.txt",
            file=sys.stderr,
        )
        return EXIT_BAD_INPUT
    except OSError as error:
        print(f"compare-benchmarks: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
