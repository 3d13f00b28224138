"""The krserve of a metal-sim build writes the CPU's tokens, on Metal 3 and 4, whatever is switched on."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "build/metal-sim/bin/krserve"
MODEL = ROOT / "models/tiny"

PROMPTS = ["What is 17 + 25?", "Count from one to ten."]
# Prompts for each.
SYSTEMS = {
    "macos=26,seed=1": PROMPTS,
    "macos=26,seed=2": PROMPTS[:1],
    "macos=15,seed=3": PROMPTS[1:],
    "macos=14,seed=4": PROMPTS[:1],
}
SETTINGS = {
    "off": [],
    "on": ["--preset", "all-on"],
    "ring_of_two_small_chunks": [
        *["--preset", "all-on", "--set", "metal_optimizations.command_buffer_ring.ring_size=2"],
        *["--set", "engine.prefill_chunk_tokens=5"],
    ],
    "short_command_buffers": [
        "--preset",
        "all-on",
        "--set",
        "metal_device.command_buffer_budget_ms=1",
    ],
    "weights_copied": ["--set", "engine.weight_loading=stream"],
}


def generate(prompt: str, device: str, system: str, *settings: str) -> dict:
    command = [PROGRAM, "generate", "--model", MODEL, "--device", device, "--chat", prompt]
    command += ["--temperature", "0", "--max-tokens", "24", "--json", *settings]
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, "KR_METAL_SIM": system},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Failed to initialize" not in done.stderr, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    return {prompt: generate(prompt, "cpu", "")["text"] for prompt in PROMPTS}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_text_is_the_cpus(expected: dict[str, str], system: str, settings: str) -> None:
    for prompt in SYSTEMS[system]:
        assert generate(prompt, "metal", system, *SETTINGS[settings])["text"] == expected[prompt]


def test_auto_takes_the_metal_device() -> None:
    done = subprocess.run(
        [PROGRAM, "doctor", "--device", "auto"],
        cwd=ROOT,
        env={**os.environ, "KR_METAL_SIM": "macos=26"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "(Metal 4)" in done.stdout, done.stdout + done.stderr
