#!/usr/bin/env python3
"""Checks kernels in the Metal Shading Language against the rules of src/kernels/dialect/dialect.h.

clang's C++ for OpenCL reads them with a model of <metal_stdlib>: it checks types and the use of
address spaces. Its syntax tree shows pointers and references that name no space, lambdas and member
functions; its intermediate code shows recursion, products that may be joined with sums, and how much
threadgroup memory a kernel takes.

  check_language.py --clang clang-19 --text kernels.metal --names-from src
      nothing may be found
  check_language.py --clang clang-19 --negatives folder --include src
      each file must be found to break what its first line says: "// Caught: rule: part of the text"
"""

import argparse
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# The language versions of macOS 14, 15 and 26.
VERSIONS = (310, 320, 400)
THREADGROUP_BYTES = 32768
KERNEL_IDS = "kernels/tuned/metal/kernel_ids.h"

OPTIONS = [
    *("-x", "clcpp", "-cl-std=clc++2021", "-target", "spir64", "-cl-no-stdinc", "-nostdinc"),
    # What OpenCL has and Metal has not.
    "-Xclang",
    "-cl-ext=-__opencl_c_pipes,-__opencl_c_device_enqueue,-cl_khr_fp64,-__opencl_c_fp64,"
    "-__opencl_c_program_scope_global_variables",
    *("-Wall", "-Wextra", "-Werror", "-Wno-unknown-attributes", "-Wno-unused-const-variable"),
    # Metal before 4 is C++14; this clang reads C++17 and tells what is not C++14.
    "-Wpre-c++17-compat",
    "-Wno-error=pre-c++17-compat",
]

DIAGNOSTIC = re.compile(r"^(.*?:\d+:\d+): (?:fatal )?(?:error|warning): (.*)$", re.MULTILINE)
DECLARATION = re.compile(
    r"\b(?:ParmVar|Var|Field|Function|Typedef|TypeAlias)Decl 0x[0-9a-f]+ (?:prev 0x[0-9a-f]+ )?"
    r"<.*?> (?:(?:line|col|[^ ]*):[\d:]+ )?(?:(?:used|referenced|constexpr) )*(?:(\w+) )?'(.*?)'"
)
MEMBER = re.compile(r"\bCXX(?:Method|Constructor|Destructor|Conversion)Decl 0x.*?(\S+) '")
CAST = re.compile(
    r"\b(?:CStyleCast|CXXReinterpretCast|CXXStaticCast|CXXConstCast|CXXFunctionalCast)Expr "
    r"0x[0-9a-f]+ <.*?> '(.*?)'"
)
SPACE = re.compile(r"__(private|global|local|constant)\b")
FUNCTION = re.compile(r"^define [^@]*@([\w.$]+)\(")
CALL = re.compile(r"\bcall\b[^@%]*(?:@([\w.$]+)|%[\w.]+)\(")
# Named "_ZZ", the length and the name of the kernel, "E", those of the variable.
SHARED = re.compile(r"^@_ZZ(\d+)(\w+) = internal addrspace\(3\) global (.*?) undef, align")
KERNEL = re.compile(r"^define .*\bspir_kernel void @(\w+)\(", re.MULTILINE)


def names_spaces(type_text):
    """Whether everything that the type points or refers to is in a named space."""
    # Of a template's type, only what it is itself.
    while (shorter := re.sub(r"<[^<>]*>", "", type_text)) != type_text:
        type_text = shorter
    pointees = re.findall(r"([^*&(),]*)[*&]+", type_text)
    return all(SPACE.search(pointee) for pointee in pointees)


def tree_problems(tree):
    for line in tree.splitlines():
        if " implicit " in line:
            continue
        if "LambdaExpr" in line:
            yield f"lambda: {line[line.index('LambdaExpr') :]}"
        elif (match := MEMBER.search(line)) and "operator()" not in line:
            yield f"member: {match.group(1)} belongs to an object of unknown space"
        elif (match := DECLARATION.search(line)) and not names_spaces(match.group(2)):
            # Without a name: of a function that is itself found, or that the compiler made.
            if match.group(1):
                yield f"space: {match.group(1)} is of type {match.group(2)}"
        elif (match := CAST.search(line)) and not names_spaces(match.group(1)):
            yield f"space: cast to {match.group(1)}"


def bytes_of(llvm_type):
    if match := re.fullmatch(r"\[(\d+) x (.*)\]", llvm_type):
        return int(match.group(1)) * bytes_of(match.group(2))
    return {"float": 4, "i8": 1, "i16": 2, "i32": 4, "i64": 8}[llvm_type.split()[0]]


def reachable(calls, function):
    seen, todo = set(), list(calls.get(function, ()))
    while todo:
        callee = todo.pop()
        if callee not in seen:
            seen.add(callee)
            todo += calls.get(callee, ())
    return seen


def code_problems(code):
    calls, shared, function = {}, {}, None
    for line in code.splitlines():
        if match := FUNCTION.match(line):
            function = match.group(1)
            calls[function] = set()
        elif match := SHARED.match(line):
            kernel = match.group(2)[: int(match.group(1))]
            shared[kernel] = shared.get(kernel, 0) + bytes_of(match.group(3))
        elif match := CALL.search(line):
            if match.group(1) is not None and match.group(1).startswith("llvm.fmuladd"):
                yield f"contraction: {function} may round a product and a sum at once"
            elif match.group(1) is None:
                yield f"indirect: {function} calls through a pointer"
            else:
                calls[function].add(match.group(1))
    for name in calls:
        if name in reachable(calls, name):
            yield f"recursion: {name} calls itself, perhaps through others"
    for kernel, size in shared.items():
        if size > THREADGROUP_BYTES:
            yield f"memory: {kernel} takes {size} bytes of {THREADGROUP_BYTES} for a threadgroup"


def problems_of(options, file, version):
    """Everything found in the file, as "rule: text"."""
    command = [options.clang, *OPTIONS, f"-D__METAL_VERSION__={version}"]
    command += ["-isystem", str(Path(__file__).resolve().parent / "model")]
    command += [f"-I{folder}" for folder in options.include]

    def clang(*arguments):
        return subprocess.run(
            [*command, *arguments, str(file)], capture_output=True, text=True, check=False
        )

    code = clang("-Xclang", "-disable-llvm-passes", "-O1", "-emit-llvm", "-S", "-o", "-")
    found = [f"compiler: {where}: {text}" for where, text in DIAGNOSTIC.findall(code.stderr)]
    if code.returncode and not found:
        found = [f"compiler: {code.stderr.strip() or 'failed without a word'}"]
    if code.returncode == 0:
        found += code_problems(code.stdout)
        kernels = KERNEL.findall(code.stdout)
        if kernels != (options.names or ["bad"]):
            found.append(f"names: the kernels are {kernels}, and not {options.names}")
        tree = clang("-w", "-Xclang", "-ast-dump", "-fsyntax-only", "-fno-color-diagnostics")
        found += dict.fromkeys(tree_problems(tree.stdout))
    return found


def kernel_names(options):
    """The names by which the host asks for the kernels, in order."""
    text = f'#include "{KERNEL_IDS}"\n#define KR_HANDLE(name) handle name\nKR_ALL_METAL_KERNELS\n'
    command = [options.clang, "-E", "-P", "-x", "c++", f"-I{options.names_from}", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return re.findall(r"\bhandle (\w+)", done.stdout)


def check_text(options):
    options.names = kernel_names(options)
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda v: problems_of(options, options.text, v), VERSIONS))
    for version, found in zip(VERSIONS, runs, strict=True):
        for text in found:
            print(f"Metal {version // 100}.{version // 10 % 10}: {text}")
        print(f"{options.text.name} as Metal {version // 100}.{version // 10 % 10}: ", end="")
        print(f"{len(options.names)} kernels, {len(found)} problems")
    return not any(runs)


def check_negatives(options):
    options.names = []
    files = sorted(options.negatives.glob("*.metal"))
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda file: problems_of(options, file, 320), files))
    missed = 0
    for file, found in zip(files, runs, strict=True):
        match = re.match(r"// Caught: (\w+): (.*)\n", file.read_text(encoding="utf-8"))
        if not match:
            missed += 1
            print(f"{file.name}: the first line does not say what is to be caught")
        elif not any(
            text.startswith(match.group(1) + ": ") and match.group(2) in text for text in found
        ):
            missed += 1
            print(f"{file.name}: {match.group(1)}: {match.group(2)}: not among {found}")
    print(f"{len(files) - missed} of {len(files)} bad kernels were caught")
    return files and not missed


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clang", required=True)
    parser.add_argument("--include", action="append", default=[])
    parser.add_argument("--names-from", default=".", help=f"folder that holds {KERNEL_IDS}")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", type=Path)
    what.add_argument("--negatives", type=Path)
    options = parser.parse_args()
    return 0 if (check_text if options.text else check_negatives)(options) else 1


if __name__ == "__main__":
    sys.exit(main())
