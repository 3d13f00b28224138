"""krserve doctor: requirements, measured costs, recommendation, and the grades of a live server."""

import json
import subprocess

import pytest
from conftest import BINARY, MODEL, ROOT

TABLE = {
    "memory_pool": {"hit_rate", "exhaustion_count"},
    "blit_queue": {"overlap_ratio", "queue_depth"},
    "command_ring": {"reuse_rate", "avg_wait_ms"},
}


def doctor(*arguments: str) -> subprocess.CompletedProcess:
    command = [str(BINARY), "doctor", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.fixture
def report(tmp_path):
    def run(*arguments: str) -> tuple[str, dict]:
        path = tmp_path / "doctor.json"
        result = doctor(*arguments, "--json", path)
        assert result.returncode == 0, result.stderr
        return result.stdout, json.loads(path.read_text())

    return run


def test_grades_the_metrics_of_a_running_server(start_server, report):
    server = start_server("--preset", "all-on", "--api-key", "secret")
    client = server.client(api_key="secret")
    client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "What is 17 + 25?"}]
    )
    text, found = report("--server", server.url, "--set", "server.api_key=secret")
    assert {c: {m["name"] for m in s["metrics"]} for c, s in found["components"].items()} == TABLE
    assert found["components"]["memory_pool"]["grade"] == "on target"
    assert found["components"]["command_ring"]["enabled"] is True
    assert "hit_rate" in text
    assert "on target" in text
    metrics = server.get("/metrics")
    assert metrics.status_code == 401


def test_component_status_is_a_metric(server, client):
    client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "What is 17 + 25?"}]
    )
    line = 'krserve:component_status{model_name="tiny",component="memory_pool",metric="hit_rate"} 0'
    assert line in server.get("/metrics").text
    status = server.get("/status").json()
    assert status["components"]["memory_pool"]["metrics"][0]["value"] == 1


def test_a_short_run_of_a_model_is_graded(report):
    _, found = report("--model", MODEL, "--preset", "all-on")
    reuse = found["components"]["command_ring"]["metrics"][0]
    assert reuse["name"] == "reuse_rate"
    assert reuse["value"] > 0.5


def test_costs_are_measured_and_settings_recommended(report):
    text, found = report()
    assert found["bandwidth_measured_gbs"] > 0.1
    costs = ("launch_us", "dispatch_us", "matmul_gbs", "device_allocation_us", "copy_gbs")
    assert all(found[cost] > 0 for cost in costs)
    assert found["recommended"]["num_heaps"] >= 2
    assert "No grades" in text


def test_an_unmet_requirement_says_the_numbers_and_the_remedy(report):
    text, found = report(
        "--preset",
        "all-on",
        "--set",
        "metal_optimizations.memory_pool.heap_size_mb=524288",
        "--set",
        "metal_optimizations.memory_pool.warmup_sizes=[1048576]",
    )
    unmet = [r for r in found["requirements"] if not r["met"]]
    assert ["memory pool", "warm-up"] == [r["what"].split(":")[0] for r in unmet]
    assert "heap_size_mb" in unmet[0]["remedy"]
    assert "1048576 MB" in text


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("http://127.0.0.1:1", 1, "no answer"),
        ("localhost:8080", 2, "http://host:port"),
    ],
)
def test_a_wrong_address_is_a_clear_error(url, code, says):
    result = doctor("--server", url)
    assert result.returncode == code
    assert says in result.stderr
    assert result.stdout == ""
