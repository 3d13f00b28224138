"""Compiles and links krserve for macOS on Linux: CMake's Apple side, Apple's libc headers, stub libraries.

Nothing made here runs. A failure shows the compiler's or the linker's own lines.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLCHAIN = Path(__file__).resolve().parent / "toolchain.cmake"
PROGRAM = ROOT / "build/mach-o/bin/krserve"
LLVM = Path("/usr/lib/llvm-19/bin")

COMPLAINT = re.compile(r"error:|warning:|undefined symbol|^>>> referenced by|^CMake Error")

# What each does that a Mac cannot, and the words by which the build must say so.
WRONG = {
    "misspelt_symbol": (
        'extern "C" void* MTLCreateSystemDefaultDevise();\n'
        "int main() { return MTLCreateSystemDefaultDevise() != nullptr; }\n",
        "undefined symbol: MTLCreateSystemDefaultDevise",
    ),
    "undefined_function": (
        "int nowhere();\nint main() { return nowhere(); }\n",
        "undefined symbol: nowhere()",
    ),
    "linux_header": ("#include <sys/epoll.h>\nint main() {}\n", "'sys/epoll.h' file not found"),
    "linux_call": (
        "#include <fcntl.h>\n#include <unistd.h>\n"
        "int main() { int ends[2]; return pipe2(ends, O_CLOEXEC); }\n",
        "undeclared identifier 'pipe2'",
    ),
    "linux_constant": (
        "#include <sys/mman.h>\nint main() { return MAP_POPULATE; }\n",
        "undeclared identifier 'MAP_POPULATE'",
    ),
    "types_of_the_same_size": (
        "#include <algorithm>\n#include <cstdint>\n#include <cstdlib>\n"
        "int main(int n, char**) { std::size_t a = n; std::uint64_t b = 1; return std::max(a, b); }\n",
        "no matching function for call to 'max'",
    ),
    "libcxx_lacks_it": (
        "#include <charconv>\n"
        'int main() { double x; return std::from_chars("1", nullptr, x).ec != std::errc{}; }\n',
        "call to deleted function 'from_chars'",
    ),
    "newer_than_the_oldest_system": (
        "#include <unistd.h>\n#include <os/availability.h>\n"
        'extern "C" void later() API_AVAILABLE(macos(26.0));\nint main() { later(); }\n',
        "'later' is only available on macOS 26.0 or newer",
    ),
}
RIGHT = (
    '#include <string>\n#include <thread>\nextern "C" void* objc_getClass(const char*);\n'
    'extern "C" void* MTLCreateSystemDefaultDevice();\n'
    "int main() {\n  std::thread([] {}).join();\n"
    '  return objc_getClass(std::string("NSString").c_str()) != MTLCreateSystemDefaultDevice();\n}\n'
)


def run(*command, cwd=ROOT):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def complaints(output):
    lines = [line for line in output.splitlines() if COMPLAINT.search(line)]
    return "\n".join(lines[:60] or output.splitlines()[-30:])


@pytest.fixture(scope="session")
def program():
    PROGRAM.unlink(missing_ok=True)
    status, output = run("scripts/build.sh", "mach-o", "krserve")
    if status != 0:
        pytest.fail(f"the tree does not build for macOS:\n{complaints(output)}", pytrace=False)
    return PROGRAM


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    """A project of single-file programs, configured with the toolchain."""
    folder = tmp_path_factory.mktemp("samples")
    lines = [
        "cmake_minimum_required(VERSION 3.25)",
        "project(samples LANGUAGES CXX)",
        "set(CMAKE_CXX_STANDARD 20)",
        "set(CMAKE_CXX_EXTENSIONS OFF)",
        'add_link_options("SHELL:-framework Metal" -lobjc)',
        "add_compile_options(-Wall -Wextra -Werror)",
    ]
    for name, text in {"right": RIGHT, **{n: text for n, (text, _) in WRONG.items()}}.items():
        (folder / f"{name}.cpp").write_text(text)
        lines.append(f"add_executable({name} {name}.cpp)")
    (folder / "CMakeLists.txt").write_text("\n".join(lines) + "\n")
    status, output = run(
        "cmake", "-G", "Ninja", "-S", folder, "-B", folder / "b",
        f"-DCMAKE_TOOLCHAIN_FILE={TOOLCHAIN}",
    )  # fmt: skip
    assert status == 0, output
    return folder / "b"


def build_sample(samples, name):
    return run("cmake", "--build", samples, "--target", name)


def test_the_program_builds_and_links_for_macos(program):
    assert program.is_file()


def test_the_program_is_for_arm64_and_the_oldest_system(program):
    _, header = run(LLVM / "llvm-objdump", "--macho", "--private-headers", program)
    assert re.search(r"\bARM64\b", header)
    build = header[header.index("LC_BUILD_VERSION") :]
    assert re.search(r"platform macos\n\s*sdk 26\.\S+\n\s*minos 14\.0", build), build[:200]


def test_the_program_loads_the_system_s_libraries_from_where_a_mac_has_them(program):
    _, output = run(LLVM / "llvm-otool", "-L", program)
    frameworks = "/System/Library/Frameworks"
    for library in (
        f"{frameworks}/Metal.framework/Versions/A/Metal",
        f"{frameworks}/Foundation.framework/Versions/C/Foundation",
        "/usr/lib/libobjc.A.dylib",
        "/usr/lib/libc++.1.dylib",
        "/usr/lib/libSystem.B.dylib",
    ):
        assert library in output


def test_a_correct_program_links(samples):
    status, output = build_sample(samples, "right")
    assert status == 0, output


@pytest.mark.parametrize("name", WRONG)
def test_what_a_mac_lacks_fails_by_name(samples, name):
    status, output = build_sample(samples, name)
    assert status != 0
    assert WRONG[name][1] in output


def test_a_missing_tool_stops_the_build_with_the_remedy(tmp_path):
    """Where the tools are not installed the stage fails; it is never left out."""
    shutil.copytree(TOOLCHAIN.parent, tmp_path / "tests/mach_o")
    (tmp_path / "CMakeLists.txt").write_text("project(none LANGUAGES CXX)\n")
    status, output = run(
        "cmake", "-S", tmp_path, "-B", tmp_path / "b", "-G", "Ninja",
        f"-DCMAKE_TOOLCHAIN_FILE={tmp_path / 'tests/mach_o/toolchain.cmake'}",
    )  # fmt: skip
    assert status != 0
    assert "the Python package ziglang is missing" in output
    assert "scripts/setup.sh" in output
