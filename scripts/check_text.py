#!/usr/bin/env python3
"""Checks tracked text files: no stray white space, no paths of one machine, no marks of unfinished work.

Files may be named as arguments (pre-commit does); without any, all tracked files are checked.
"""

import re
import subprocess
import sys
from pathlib import Path

# Generated or third-party text, and this check's own words.
SKIPPED = re.compile(
    r"^(models/|tests/data/|tests/golden/data/|LICENSE$|scripts/check_text\.py$"
    r"|tests/tooling/test_check_text\.py$)|\.(lock|safetensors|bin|png|npz)$|package-lock\.json$"
)
MARK = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MACHINE_PATH = re.compile(r"(?<![A-Za-z0-9_.}$-])/(tmp|work|root|farm|home/\w+|Users/\w+)/")
TEMPORARY = re.compile(r"mktemp|TMPDIR")


def line_problem(line):
    if line.rstrip("\n") != line.rstrip():
        return "white space at the end of the line"
    if MARK.search(line):
        return f"unfinished work is marked ({MARK.search(line).group()})"
    if MACHINE_PATH.search(line) and not TEMPORARY.search(line):
        return f"path of one machine ({MACHINE_PATH.search(line).group()})"
    return None


def file_problems(name, data):
    if b"\0" in data:
        return
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        yield f"{name}: not UTF-8 at byte {error.start}"
        return
    for number, line in enumerate(text.split("\n"), 1):
        problem = line_problem(line)
        if problem:
            yield f"{name}:{number}: {problem}"
    if text and not text.endswith("\n"):
        yield f"{name}: no line break at the end"
    if text.endswith("\n\n"):
        yield f"{name}: empty lines at the end"


def check(root, names):
    problems = []
    for name in names:
        path = root / name
        if SKIPPED.search(name) or path.is_symlink() or not path.is_file():
            continue
        problems += file_problems(name, path.read_bytes())
    return problems


def tracked(root):
    done = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True)
    return [name for name in done.stdout.decode().split("\0") if name]


def main():
    root = Path(__file__).resolve().parent.parent
    problems = check(root, sys.argv[1:] or tracked(root))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
