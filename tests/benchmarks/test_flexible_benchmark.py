"""Runs benchmarks/flexible-benchmark.ts on the embedded model, and compares what it wrote."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETS = ROOT / "benchmarks/questions"
SCRIPT = "benchmarks/flexible-benchmark.ts"
# As documented, and the same without a second of npx.
NPX = ("npx", "--no-install", "tsx", SCRIPT)
TSX = ("node_modules/.bin/tsx", SCRIPT)
BINARY = os.environ.get("KRSERVE_BIN", str(ROOT / "build/release/bin/krserve"))


def start(*arguments: str, program: tuple[str, ...] = TSX) -> subprocess.Popen:
    return subprocess.Popen(
        [*program, *arguments, "--krserve", BINARY],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(*arguments: str, program: tuple[str, ...] = TSX) -> tuple[int, str, str]:
    process = start(*arguments, program=program)
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def measure(file: Path, *arguments: str) -> dict:
    common = ("--model", "tiny", "--questions", "3", "--max-tokens", "12", "--ignore-eos")
    status, output, errors = run(*common, "--output", str(file), *arguments, program=NPX)
    assert status == 0, errors
    assert "Throughput:" in output and f"written: {file}" in output
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("results") / "made"
    measure(folder / "a.json")
    measure(folder / "b.json", "--preset", "all-on", "--repeat", "2", "--warmup", "0")
    return folder / "a.json", folder / "b.json"


def test_each_question_has_its_figures(files):
    result = json.loads(files[0].read_text())
    assert result["format"] == "krserve.benchmark/1" and result["complete"]
    assert [entry["id"] for entry in result["results"]] == [
        "arithmetic-01",
        "science-01",
        "programming-01",
    ]
    for entry in result["results"]:
        assert entry["completion_tokens"] == 12 and entry["prompt_tokens"] > 0
        assert 0 < entry["ttft_ms"] <= entry["latency_ms"]
        assert entry["tokens_per_second"] > 0 and 0 < entry["device_utilization"] <= 1
    assert result["model"]["name"] == "tiny" and result["device"]["name"]
    assert result["machine"]["cores"] >= 1 and "--questions 3" in result["command"]
    assert result["config"]["engine"] and len(result["runs"]) == 1


def test_statistics_are_of_the_measured_questions_alone(files):
    statistics = json.loads(files[0].read_text())["statistics"]
    before, after = (statistics[when]["engine"] for when in ("before", "after"))
    made = after["generation_tokens_total"] - before["generation_tokens_total"]
    assert made == 3 * 12
    for component in ("memory_pool", "blit_queue", "command_buffer_ring"):
        assert component in statistics["after"]


def test_options_reach_the_runtime_and_the_file(files):
    result = json.loads(files[1].read_text())
    assert result["config"]["metal_optimizations"]["enabled"] is True
    assert len(result["results"]) == 6 and len(result["runs"]) == 2
    assert result["options"]["repeat"] == 2 and result["options"]["warmup"] == 0


def test_two_results_can_be_compared(files):
    done = subprocess.run(
        [sys.executable, "scripts/compare-benchmarks.py", *map(str, files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Baseline Throughput:" in done.stdout and "Utilization Gain:" in done.stdout
    assert "3 questions, paired" in done.stdout and "too few" in done.stdout


def test_questions_beside_each_other_have_figures_of_the_run(tmp_path):
    result = measure(tmp_path / "c.json", "--concurrency", "3", "--set", "engine.parallel=3")
    assert result["config"]["engine"]["parallel"] == 3
    assert all(entry["device_utilization"] is None for entry in result["results"])
    assert 0 < result["runs"][0]["device_utilization"] <= 1


def test_ctrl_c_writes_what_is_there(tmp_path):
    file = tmp_path / "x.json"
    process = start("--model", "tiny", "--questions", "100000", "--output", str(file))
    for line in process.stderr:
        if line.startswith("measuring"):
            break
    else:
        pytest.fail("it never began to measure")
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    result = json.loads(file.read_text())
    assert result["complete"] is False and len(result["results"]) < 100000
    assert "interrupted" in output


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((), "--model is missing"),
        (("--model", "tiny", "--questions", "0"), "--questions 0: give a whole number, 1 or more"),
        (("--model", "tiny", "--question-set", "none"), "--question-set none"),
        (("--model", "tiny", "--no-such"), "--no-such"),
    ],
)
def test_a_wrong_command_line_is_status_2(arguments, words):
    status, _, errors = run(*arguments)
    assert status == 2 and words in errors


def test_a_model_that_is_not_there_is_status_1(tmp_path):
    status, _, errors = run("--model", str(tmp_path / "none"))
    assert status == 1 and "none" in errors and "is not a directory" in errors


def test_the_program_fits_the_engine_s_types():
    done = subprocess.run(
        ["clients/typescript/node_modules/.bin/tsc", "--noEmit", "-p", "benchmarks"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name, categories, each", [("general", 8, 30), ("long-prompts", 6, 5)])
def test_a_question_set_is_even_and_has_no_question_twice(name, categories, each):
    lists = json.loads((SETS / f"{name}.json").read_text())["categories"]
    assert len(lists) == categories and all(len(questions) == each for questions in lists.values())
    texts = [text for questions in lists.values() for text in questions]
    assert len(set(texts)) == len(texts) and all(text == text.strip() for text in texts)
