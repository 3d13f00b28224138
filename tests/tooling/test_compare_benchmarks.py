import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bench_compare.comparison import compare, regressions, sign_flip_p
from bench_compare.results import read_results

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/compare-benchmarks.py"


def write_result(path, speed, ttft=12.0, utilization=0.72, count=100, seed=1, **options):
    """Questions whose difficulty varies far more than the noise of one measurement."""
    difficulty = np.random.default_rng(7).uniform(0.5, 1.5, count)
    noise = np.random.default_rng(seed).normal(1, 0.005, (3, count))
    prefix = options.pop("prefix", "question")
    results = [
        {
            "id": f"{prefix}-{i}",
            "tokens_per_second": speed * difficulty[i] * noise[0, i],
            "ttft_ms": ttft * difficulty[i] * noise[1, i],
            "device_utilization": utilization * noise[2, i],
        }
        for i in range(count)
    ]
    data = {
        "format": "krserve.benchmark/1",
        "model": {"name": "tiny"},
        "options": {"concurrency": 1, "max_tokens": 64} | options,
        "results": results,
        "runs": [],
    }
    path.write_text(json.dumps(data))
    return path


def run(*arguments, **environment):
    done = subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def files(tmp_path):
    baseline = write_result(tmp_path / "baseline.json", 84.96)
    optimized = write_result(tmp_path / "optimized.json", 118.5, 10.2, 0.78, seed=2)
    return baseline, optimized


def test_the_report_has_the_seed_document_s_form(files):
    status, output, _ = run(*files)
    assert status == 0
    lines = output.splitlines()
    assert [line[:24].rstrip() for line in lines[:11] if line] == [
        "Baseline Throughput:",
        "Optimized Throughput:  1",
        "Improvement:",
        "Baseline TTFT:",
        "Optimized TTFT:",
        "TTFT Reduction:",
        "Baseline GPU Util:",
        "Optimized GPU Util:",
        "Utilization Gain:",
    ]
    assert lines[0].endswith(" tok/s") and lines[0].index(".") == lines[1].index(".")
    assert lines[2].startswith("Improvement:            +") and lines[2].endswith("% ✅")
    assert lines[6].startswith("TTFT Reduction:         -") and lines[6].endswith("% ✅")
    assert lines[8] == "Baseline GPU Util:      72%"
    assert lines[10].startswith("Utilization Gain:       +8.")


def test_the_change_is_that_of_the_printed_medians(tmp_path):
    a = write_result(tmp_path / "a.json", 84.96, count=1)
    b = write_result(tmp_path / "b.json", 118.5, count=1)
    for path, values in ((a, (84.96, 12.0, 0.72)), (b, (118.5, 10.2, 0.78))):
        data = json.loads(path.read_text())
        keys = ("tokens_per_second", "ttft_ms", "device_utilization")
        data["results"][0] |= dict(zip(keys, values, strict=True))
        path.write_text(json.dumps(data))
    status, output, _ = run(a, b)
    assert status == 0
    assert "Optimized Throughput:  118.50 tok/s\nImprovement:            +39.5% " in output
    assert "Optimized TTFT:         10.2ms\nTTFT Reduction:         -15.0% " in output
    assert "Optimized GPU Util:     78%\nUtilization Gain:       +8.3% " in output
    assert output.count("(not significant)") == 3 and "too few" in output


def test_a_significant_regression_beyond_the_threshold_is_status_1(files):
    status, output, _ = run(*reversed(files))
    assert status == 1
    assert "Verdict: regression beyond 5%: Throughput -28" in output
    assert "❌" in output


def test_a_regression_within_the_threshold_is_status_0(files):
    status, output, _ = run(*reversed(files), "--threshold", "40")
    assert status == 0
    assert "no significant regression beyond 40%" in output


def test_pairing_sees_a_small_change_below_the_spread_of_the_questions(tmp_path):
    a = read_results(write_result(tmp_path / "a.json", 100))
    b = read_results(write_result(tmp_path / "b.json", 98, seed=2))
    other = read_results(write_result(tmp_path / "c.json", 98, seed=2, prefix="other"))
    paired, unpaired = compare(a, b, 0.05)[0], compare(a, other, 0.05)[0]
    assert paired.paired and paired.significant
    assert not unpaired.paired and not unpaired.significant
    assert regressions(compare(a, b, 0.05), 1) and not regressions(compare(a, b, 0.05), 3)


def test_equal_measurements_are_not_significant(tmp_path):
    a = read_results(write_result(tmp_path / "a.json", 100))
    for each in compare(a, a, 0.05):
        assert each.change == 0 and each.p_value == 1 and not each.significant


def test_noise_alone_is_significant_about_as_often_as_alpha_says():
    hits = 0
    for seed in range(200):
        differences = np.random.default_rng(seed).normal(size=10)
        hits += sign_flip_p(differences, np.random.default_rng(0)) < 0.05
    assert 2 <= hits <= 20


def test_the_interval_holds_the_true_change(tmp_path):
    a = read_results(write_result(tmp_path / "a.json", 100))
    b = read_results(write_result(tmp_path / "b.json", 110, seed=2))
    low, high = compare(a, b, 0.05)[0].change_interval
    assert low < 0.10 < high and high - low < 0.2


def test_repeats_of_a_question_count_as_one_measurement(tmp_path):
    path = write_result(tmp_path / "a.json", 100, count=8)
    data = json.loads(path.read_text())
    data["results"] += data["results"]
    path.write_text(json.dumps(data))
    assert len(read_results(path).samples["TTFT"]) == 8


def test_questions_beside_each_other_are_compared_by_run(tmp_path):
    path = write_result(tmp_path / "a.json", 100, concurrency=4)
    data = json.loads(path.read_text())
    data["runs"] = [{"run": i, "tokens_per_second": 300.0 + i} for i in range(7)]
    path.write_text(json.dumps(data))
    results = read_results(path)
    throughput, ttft = compare(results, results, 0.05)
    assert throughput.per == "run" and throughput.baseline_median == 303
    assert not throughput.paired and ttft.paired


def test_failed_questions_are_left_out_and_named(tmp_path, files):
    data = json.loads(files[1].read_text())
    data["results"][0] = {"id": "question-0", "error": "device lost"}
    files[1].write_text(json.dumps(data))
    status, output, _ = run(*files)
    assert status == 0
    assert "1 failed requests" in output and "99 questions, unpaired" in output


@pytest.mark.parametrize(
    "content, words",
    [
        ("{", "is not JSON"),
        ("[]", "is not a result of flexible-benchmark"),
        ('{"format": "krserve.benchmark/1", "results": 3}', "must be lists"),
        ('{"format": "krserve.benchmark/1", "results": []}', "holds no answered question"),
        (
            '{"format": "krserve.benchmark/1", "results": [{"id": "a", "ttft_ms": "x"}]}',
            "ttft_ms is 'x', not a number",
        ),
    ],
)
def test_bad_input_is_status_2_and_named(tmp_path, files, content, words):
    bad = tmp_path / "bad.json"
    bad.write_text(content)
    status, _, errors = run(files[0], bad)
    assert status == 2
    assert words in errors and "Traceback" not in errors


def test_a_missing_file_is_status_2(tmp_path, files):
    status, _, errors = run(files[0], tmp_path / "none.json")
    assert status == 2 and "none.json cannot be read" in errors


def test_plots_of_both_kinds_are_pictures(tmp_path, files):
    status, output, errors = run(*files, "--plot", tmp_path / "out/x.png")
    assert status == 0, errors
    assert (tmp_path / "out/x.png").read_bytes().startswith(b"\x89PNG")
    spec = importlib.util.find_spec("bench_compare.plot")
    assert spec
    from bench_compare.plot import render

    found = compare(read_results(files[0]), read_results(files[1]), 0.05)
    drawing = render(found, "svg")
    assert b"<svg" in drawing and b"optimized" in drawing
    assert drawing == render(found, "svg")


def test_the_html_report_loads_nothing(tmp_path, files):
    data = json.loads(files[0].read_text())
    data["command"] = "<script>alert(1)</script>"
    files[0].write_text(json.dumps(data))
    status, _, errors = run(*files, "--html", tmp_path / "x.html")
    assert status == 0, errors
    page = (tmp_path / "x.html").read_text()
    assert "<svg" in page and "Improvement:" in page and "significantly better" in page
    assert "<script>alert" not in page
    assert not any(word in page for word in ('src="http', 'href="http', "@import", "<link"))


def test_a_missing_package_is_named(tmp_path, files):
    (tmp_path / "matplotlib.py").write_text("raise ModuleNotFoundError(name='matplotlib')")
    status, _, errors = run(*files, "--plot", tmp_path / "x.svg", PYTHONPATH=str(tmp_path))
    assert status == 2
    assert "the package matplotlib is missing" in errors and "requirements.txt" in errors


def test_another_kind_of_picture_is_refused_before_any_work(files):
    status, _, errors = run(*files, "--plot", "x.pdf")
    assert status == 2 and ".png or .svg" in errors
