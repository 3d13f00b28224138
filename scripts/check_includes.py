#!/usr/bin/env python3
"""Checks that the includes of src/ follow the one direction of dependencies.

cli, server -> engine -> model -> runtime -> device -> kernels, base; config, text and hub lean on base.
"""

import re
import sys
from pathlib import Path

# What each folder of src/ may include besides itself.
ALLOWED = {
    "base": set(),
    "kernels": set(),
    "config": {"base"},
    "text": {"base"},
    "hub": {"base"},
    "device": {"kernels", "base"},
    "runtime": {"device", "kernels", "base", "config"},
    "model": {"runtime", "device", "kernels", "base"},
    "engine": {"model", "runtime", "device", "kernels", "base", "config", "text"},
    "server": {"engine", "model", "runtime", "device", "kernels", "base", "config", "text", "hub"},
}
ALLOWED["cli"] = ALLOWED["server"] | {"server"}
# The fake device wraps the parts of the CPU device.
BACKEND_LEANS_ON = {("fake", "cpu")}
# These meet only through the types of device/.
APART = {"runtime/memory_pool", "runtime/blit_queue", "runtime/command_ring"}

VENDOR = {
    "cuda": re.compile(r"^(cuda|cublas|cudnn|cufft|curand|cusparse|nvrtc|nvml|nvtx|nccl|cutlass)"),
    "metal": re.compile(r"^(Metal|MetalKit|Foundation|QuartzCore|AppKit|IOKit|objc)/"),
}
# The headers of the device languages themselves, where device code is written.
LANGUAGE = re.compile(
    r"^(cuda_fp16|cuda_bf16|cuda_fp8|mma|cooperative_groups|metal_[a-z_]+)(\.h)?$"
)
DEVICE_CODE = ("kernels/dialect/", "kernels/tuned/cuda/", "kernels/tuned/metal/", "kernels/entry/")

SUFFIXES = {".h", ".hpp", ".cpp", ".cc", ".cu", ".cuh", ".m", ".mm", ".metal"}
INCLUDE = re.compile(r'^\s*#\s*(?:include|import)\s*([<"])([^>"]+)[>"]')
CONDITION = re.compile(r"^\s*#\s*(?:if|ifdef|ifndef|elif)\b(.*)")
BACKEND = re.compile(r"CUDA|NVCC|METAL|__APPLE__|TARGET_OS_|__OBJC__|HIP", re.IGNORECASE)
BELOW_THE_SEAM = {"base", "device", "kernels"}


def part_of(path):
    """The member of APART that `path` (relative to src/) lies in, or None."""
    return next((part for part in APART if path.startswith(part + "/")), None)


def backend_of(path):
    """Such as cuda for device/cuda/queue.cpp; None outside the folders of the back ends."""
    parts = path.split("/")
    return parts[1] if parts[0] == "device" and len(parts) > 2 else None


def vendor_problem(path, target):
    if LANGUAGE.match(target) and path.startswith(DEVICE_CODE):
        return None
    vendor = "cuda" if LANGUAGE.match(target) else None
    vendor = next((name for name, rule in VENDOR.items() if rule.match(target)), vendor)
    if vendor is None or backend_of(path) == vendor:
        return None
    return f"<{target}> belongs in src/device/{vendor}/ alone"


def own_problem(src, path, target):
    """What is wrong with `path` including "target", or None."""
    folder, other = path.split("/")[0], target.split("/")[0]
    if ".." in target.split("/"):
        return f'"{target}" climbs; include paths start at src/'
    if not (src / target).is_file():
        return f'"{target}" is not a file below src/; include paths start there'
    if other != folder and other not in ALLOWED[folder]:
        allowed = ", ".join(sorted(ALLOWED[folder])) or "nothing else"
        return f'"{target}": {folder}/ may include {allowed}'
    pair = (backend_of(path), backend_of(target))
    if all(pair) and pair[0] != pair[1] and pair not in BACKEND_LEANS_ON:
        return f'"{target}": one back end includes another'
    if backend_of(target) and folder != "device":
        return f'"{target}": only device/*.h is the seam, not what is in a back end'
    if part_of(path) and part_of(target) and part_of(path) != part_of(target):
        return f'"{target}": {part_of(path)} and {part_of(target)} meet only through device/'
    return None


def condition_problem(path, condition):
    if path.split("/")[0] in BELOW_THE_SEAM or not BACKEND.search(condition):
        return None
    return f"#if on a back end or platform ({condition.strip()}); move it to base/ or device/"


def file_problems(src, path, text):
    for number, line in enumerate(text.splitlines(), 1):
        problem = None
        if match := INCLUDE.match(line):
            quote, target = match.groups()
            problem = vendor_problem(path, target)
            if problem is None and quote == '"':
                problem = own_problem(src, path, target)
        elif match := CONDITION.match(line):
            problem = condition_problem(path, match.group(1))
        if problem:
            yield f"src/{path}:{number}: {problem}"


def check(root):
    """All problems below root/src, sorted by file."""
    src = Path(root) / "src"
    problems = []
    for file in sorted(src.rglob("*")):
        if file.suffix not in SUFFIXES or not file.is_file():
            continue
        path = file.relative_to(src).as_posix()
        if path.split("/")[0] not in ALLOWED:
            problems.append(f"src/{path}: folder {path.split('/')[0]}/ is not in the arrow")
            continue
        problems += file_problems(src, path, file.read_text(encoding="utf-8"))
    return problems


def main():
    problems = check(Path(__file__).resolve().parent.parent)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
