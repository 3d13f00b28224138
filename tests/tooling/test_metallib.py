"""cmake/KrMetallib.cmake with an xcrun of our own in the place of Apple's."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Answers what CMake asks, notes its arguments, and writes the file after -o.
XCRUN = """#!/bin/sh
if [ "$4" = --version ]; then exit {status}; fi
printf '%s\\n' "$@" >>{log}
while [ $# -gt 0 ]; do
  if [ "$1" = -o ]; then echo library >"$2"; fi
  shift
done
exit {compiles}
"""


class Project:
    def __init__(self, folder):
        self.folder = folder
        self.log = folder / "arguments"
        self.library = folder / "b" / "krserve.metallib"
        (folder / "kernels.metal").write_text("kernel void nothing() {}\n")
        (folder / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.25)\nproject(one LANGUAGES NONE)\n"
            f"include({ROOT}/cmake/KrMetallib.cmake)\n"
            "kr_add_metallib(TEXT ${CMAKE_SOURCE_DIR}/kernels.metal\n"
            "  OUTPUT ${CMAKE_BINARY_DIR}/krserve.metallib)\n"
        )

    def xcrun(self, status=0, compiles=0):
        script = self.folder / "xcrun"
        script.write_text(XCRUN.format(status=status, compiles=compiles, log=self.log))
        script.chmod(0o755)
        return script

    def run(self, *command):
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def configure(self, **settings):
        options = [f"-D{name}={value}" for name, value in settings.items()]
        return self.run(
            "cmake", "-G", "Ninja", "-S", self.folder, "-B", self.folder / "b", *options
        )

    def build(self):
        return self.run("cmake", "--build", self.folder / "b")


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def test_the_compiler_gets_language_system_and_math(project):
    assert project.configure(KRSERVE_XCRUN=project.xcrun())[0] == 0
    status, output = project.build()
    assert status == 0, output
    assert project.log.read_text().split() == [
        "-sdk", "macosx", "metal", "-std=metal3.2", "-mmacosx-version-min=15.0",
        "-fmetal-math-mode=safe", "-fmetal-math-fp32-functions=precise",
        "-o", str(project.library), str(project.folder / "kernels.metal"),
    ]  # fmt: skip
    assert project.library.is_file()


def test_language_and_system_can_be_chosen(project):
    project.configure(
        KRSERVE_XCRUN=project.xcrun(),
        KRSERVE_METALLIB_STD="metal4.0",
        KRSERVE_METALLIB_MACOS="26.0",
    )
    assert project.build()[0] == 0
    arguments = project.log.read_text().split()
    assert "-std=metal4.0" in arguments
    assert "-mmacosx-version-min=26.0" in arguments


def test_it_is_compiled_again_only_when_the_text_changes(project):
    project.configure(KRSERVE_XCRUN=project.xcrun())
    project.build()
    project.log.unlink()
    project.build()
    assert not project.log.exists()
    (project.folder / "kernels.metal").write_text("kernel void other() {}\n")
    project.build()
    assert project.log.exists()


def test_without_the_compiler_it_is_left_out_with_the_remedy(project):
    status, output = project.configure(KRSERVE_XCRUN=project.xcrun(status=1))
    assert status == 0
    assert "krserve.metallib: not built" in output
    assert "MetalToolchain" in output
    assert project.build()[0] == 0
    assert not project.library.exists()


def test_asked_for_and_without_the_compiler_it_is_an_error(project):
    status, output = project.configure(
        KRSERVE_XCRUN=project.xcrun(status=1), KRSERVE_METALLIB="ON"
    )
    assert status != 0
    assert "MetalToolchain" in output


def test_off_asks_for_no_compiler(project):
    assert project.configure(KRSERVE_XCRUN=project.xcrun(), KRSERVE_METALLIB="OFF")[0] == 0
    project.build()
    assert not project.log.exists()


def test_kernels_that_the_compiler_refuses_fail_the_build(project):
    project.configure(KRSERVE_XCRUN=project.xcrun(compiles=1))
    assert project.build()[0] != 0


def test_the_language_is_the_one_that_krserve_asks_for():
    header = (ROOT / "src/kernels/metal_kernels.h").read_text()
    assert "kHandOverLanguage = language_version(3, 2);" in header
