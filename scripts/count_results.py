#!/usr/bin/env python3
"""Sums up what scripts/run_tests.sh left behind: a line per stage, every failure and skip by name, and the total.

A stage is a folder with any of these in it:
  error           text: the stage could not run, which counts as one failure
  pre-commit.log  output of pre-commit: one result per hook
  ctest.xml       JUnit of ctest; gtest/PROGRAM.xml beside it replaces a program by its single tests
  junit-*.xml     JUnit of pytest or vitest
"""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

HOOK = re.compile(r"^(.*?)\.{3,}.*?(Passed|Failed|Skipped)\s*$")


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []

    def add(self, name, outcome):
        if outcome == "passed":
            self.passed += 1
        else:
            (self.failed if outcome == "failed" else self.skipped).append(name)


def count_hooks(tally, file):
    for line in file.read_text(errors="replace").splitlines():
        if match := HOOK.match(line):
            tally.add(match.group(1), match.group(2).lower())


def case_outcome(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    not_run = case.get("status") in ("notrun", "disabled") or case.get("result") == "skipped"
    return "skipped" if not_run or case.find("skipped") is not None else "passed"


def case_name(case):
    reason = case.find("skipped")
    message = reason.get("message", "") if reason is not None else ""
    name = ".".join(part for part in (case.get("classname"), case.get("name")) if part)
    return f"{name}: {message}" if message else name


def count_junit(tally, file):
    for case in ElementTree.parse(file).iter("testcase"):
        tally.add(case_name(case), case_outcome(case))


def count_ctest(tally, file):
    for program in ElementTree.parse(file).iter("testcase"):
        name = program.get("name")
        # ctest says "fail" both for a failed test and for a program that was never built.
        failed = program.get("status") not in ("run", "disabled") or case_outcome(program) == "failed"
        single = file.parent / "gtest" / f"{name}.xml"
        before = len(tally.failed)
        if single.is_file() and single.stat().st_size > 0:
            count_junit(tally, single)
        elif not failed:
            tally.add(name, case_outcome(program))
        # A crash, or a sanitizer's report at exit, fails the program and no single test.
        if failed and len(tally.failed) == before:
            tally.add(f"{name} (the program failed)", "failed")


def count_stage(folder):
    tally = Tally()
    counters = {"pre-commit.log": count_hooks, "ctest.xml": count_ctest, "junit-*.xml": count_junit}
    for pattern, counter in counters.items():
        for file in sorted(folder.glob(pattern)):
            counter(tally, file)
    if (folder / "error").is_file():
        tally.add((folder / "error").read_text().strip(), "failed")
    if tally.passed + len(tally.failed) == 0:
        tally.add("the stage ran no test", "failed")
    return tally


def main():
    folders = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir())
    stages = [(folder.name, count_stage(folder)) for folder in folders]
    for name, tally in stages:
        print(f"{name}: {tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped")
        for text in tally.failed:
            print(f"  FAILED {text}")
        for text in tally.skipped:
            print(f"  skipped {text}")
    passed = sum(tally.passed for _, tally in stages)
    failed = sum(len(tally.failed) for _, tally in stages)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
