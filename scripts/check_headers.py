#!/usr/bin/env python3
"""Compiles every header of src/ alone, twice in one file, so that none leans on what came before it.

A header with a guard that opens a source file of its own name is left to the build, which compiles it so.
Goes through ccache when there is one: a second run costs a moment.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wno-psabi", "-Werror"]
# A header of these needs its vendor's compiler and headers; it is checked where there is one.
VENDOR_FOLDERS = {
    "device/cuda/": "nvcc",
    "kernels/tuned/cuda/": "nvcc",
    "device/metal/": "xcrun",
    "kernels/tuned/metal/": "xcrun",
}
# What CMake passes to the targets; a string so that headers can splice it into literals.
DEFINES = ['-DKR_VERSION="0.0.0"']


def compiler_command(root):
    compiler = shlex.split(os.environ.get("CXX", "")) or [shutil.which("g++") or "c++"]
    launcher = [shutil.which("ccache")] if shutil.which("ccache") else []
    crates = [f"-I{root / 'crates' / crate / 'include'}" for crate in ("krtext", "krhub")]
    includes = [f"-I{root / 'src'}", *crates]
    if nvcc := shutil.which("nvcc"):
        includes += ["-isystem", str(Path(nvcc).resolve().parent.parent / "include")]
    if sys.platform == "darwin":
        prefix = subprocess.run(["brew", "--prefix"], capture_output=True, text=True, check=True)
        includes += ["-isystem", f"{prefix.stdout.strip()}/include"]
    return [*launcher, *compiler, "-std=c++20", "-O0", *WARNINGS, *DEFINES, *includes]


def missing_tool(header):
    tools = (tool for folder, tool in VENDOR_FOLDERS.items() if header.startswith(folder))
    return next((tool for tool in tools if shutil.which(tool) is None), None)


def is_first_in_its_source(src, header):
    """True if HEADER.cpp includes it before all else."""
    source = (src / header).with_suffix(".cpp")
    if not source.is_file() or "#pragma once" not in (src / header).read_text():
        return False
    first = re.search(r"^#include (.*)$", source.read_text(), re.MULTILINE)
    return first is not None and first.group(1) == f'"{header}"'


def compile_alone(command, header, folder):
    """The compiler's complaint about src/`header`, or None."""
    stem = folder / header.replace("/", "__")
    source = stem.with_suffix(".cpp")
    text = f'#include "{header}"\n#include "{header}"\n'
    # Left alone when unchanged: ccache looks at time stamps too.
    if not source.is_file() or source.read_text() != text:
        source.write_text(text)
    done = subprocess.run(
        [*command, "-c", str(source), "-o", str(stem.with_suffix(".o"))],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"src/{header} does not compile alone:\n{done.stderr}" if done.returncode else None


def check(root, jobs):
    """(number of headers looked at, complaints, headers skipped with the reason)."""
    src = root / "src"
    folder = root / "build" / "headers"
    folder.mkdir(parents=True, exist_ok=True)
    headers = sorted(path.relative_to(src).as_posix() for path in src.rglob("*.h"))
    skipped = [f"{h} ({missing_tool(h)} not found)" for h in headers if missing_tool(h)]
    todo = [header for header in headers if not missing_tool(header)]
    alone = [header for header in todo if not is_first_in_its_source(src, header)]
    command = compiler_command(root)
    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(lambda header: compile_alone(command, header, folder), alone))
    return len(todo), [result for result in results if result], skipped


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    options = parser.parse_args()
    count, complaints, skipped = check(options.root.resolve(), options.jobs)
    for text in complaints:
        print(text)
    for text in skipped:
        print(f"skipped: {text}")
    print(f"{count} headers looked at, {len(complaints)} failed, {len(skipped)} skipped")
    return 1 if complaints or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
