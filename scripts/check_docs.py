#!/usr/bin/env python3
"""Checks docs/architecture.md against the tree: one line for each folder of src/, and no other folder.

A folder's line is a list item or table row that starts with its path: - `src/device/cpu/`: ...
"""

import re
import sys
from collections import Counter
from pathlib import Path

ENTRY = re.compile(r"^\s*[-*|]\s*`(src/[A-Za-z0-9_./-]*?)/?`(.*)")
MENTION = re.compile(r"`(src/[A-Za-z0-9_./-]+)`")


def source_folders(root):
    """Folders below src/ that hold a file, themselves or further down."""
    folders = set()
    for file in (root / "src").rglob("*"):
        if file.is_file():
            folders.update(
                p.relative_to(root).as_posix() for p in file.parents if root / "src" in p.parents
            )
    return folders


def check(root):
    document = root / "docs" / "architecture.md"
    name = "docs/architecture.md"
    if not document.is_file():
        return [f"{name} is missing"]
    problems = []
    entries = Counter()
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        for path in MENTION.findall(line):
            if not (root / path).exists():
                problems.append(f"{name}:{number}: {path} does not exist")
        if match := ENTRY.match(line):
            entries[match.group(1)] += 1
            if len(match.group(2).strip(" |:-.")) < 10:
                problems.append(f"{name}:{number}: {match.group(1)} has no sentence")
    for folder in sorted(source_folders(root)):
        if entries[folder] != 1:
            problems.append(f"{name}: {folder}/ has {entries[folder]} lines, expected one")
    return problems


def main():
    problems = check(Path(__file__).resolve().parent.parent)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
