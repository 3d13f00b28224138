"""What is installed: types, stubs, metadata."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import krserve
import krserve_native as native
import pytest
from conftest import ROOT


def test_the_version_is_the_programs() -> None:
    version = re.search(
        r"project\(krserve VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text()
    )
    assert version
    assert krserve.__version__ == native.__version__ == version[1]
    assert importlib.metadata.version("krserve") == version[1]


def test_both_packages_are_typed() -> None:
    for package in (krserve, native):
        assert (Path(package.__file__).parent / "py.typed").is_file()


def test_the_stub_is_what_stubgen_makes_of_the_module(tmp_path: Path) -> None:
    """When this fails: run the command with the committed file as its output."""
    made = tmp_path / "_native.pyi"
    folder = Path(native.__file__).parent
    command = [sys.executable, "-m", "nanobind.stubgen", "-i", folder, "-m", "_native", "-o", made]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    committed = (ROOT / "bindings/python/krserve_native/_native.pyi").read_text()
    if sys.version_info < (3, 12):  # which has no __buffer__ yet
        committed = re.sub(r" {4}def __(release_)?buffer__.*?\n\n", "", committed, flags=re.DOTALL)
    assert made.read_text() == committed, command


def test_every_public_name_has_a_stub_and_the_packages_name() -> None:
    stub = (ROOT / "bindings/python/krserve_native/_native.pyi").read_text()
    for name in native.__all__:
        assert re.search(rf"^(class|def) {name}\b", stub, re.MULTILINE), name
        assert getattr(native, name).__module__ in ("krserve_native", "krserve_native._native")


def test_mypy_accepts_the_package_and_a_users_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import krserve\n"
        "import krserve_native as native\n"
        "config = native.MetalMemoryPoolConfig(heap_size_mb=4)\n"
        "pool = native.MetalMemoryPool(config, device='cpu')\n"
        "rate: float = pool.get_statistics().hit_rate\n"
        "view = memoryview(pool.allocate(8))\n"
        "with native.CommandBufferRing(ring_size=2).acquire() as slot:\n"
        "    slot.fill(pool.allocate(64), 0)\n"
        "with krserve.Engine.load('tiny', config={'engine.threads': 1}) as engine:\n"
        "    text: str = engine.generate('x', temperature=0, stop=['.']).text\n"
        "    for chunk in engine.stream([1, 2]):\n"
        "        reveal_type(chunk.tokens)\n"
        "async def main() -> None:\n"
        "    async for chunk in engine.astream([{'role': 'user', 'content': 'x'}]):\n"
        "        print(chunk.text)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [*command, "-p", "krserve", "--no-error-summary"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run([*command, str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'Revealed type is "list[int]"' in done.stdout.replace("builtins.", "")


def test_a_wrong_keyword_is_a_type_error_for_mypy(tmp_path: Path) -> None:
    program = tmp_path / "wrong.py"
    program.write_text(
        "import krserve_native as native\nnative.BlitQueueConfig(max_pending_ops='8')\n"
    )
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run([*command, str(program)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "max_pending_ops" in done.stdout


@pytest.mark.parametrize("code", ["import krserve_native", "import krserve"])
def test_importing_prints_nothing_and_needs_no_numpy(code: str) -> None:
    check = f"{code}; import sys; sys.exit('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_objects_left_at_exit_leave_quietly() -> None:
    code = (
        "import krserve_native as n\n"
        "pool = n.MetalMemoryPool(heap_size_mb=1, num_heaps=1, warmup_sizes=[], device='cpu')\n"
        "buffer = pool.allocate(64)\n"
        "blit = n.BlitQueue(device='cpu'); ring = n.CommandBufferRing(device='cpu')\n"
        "transfer = blit.download(buffer, bytearray(64)); slot = ring.acquire()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
