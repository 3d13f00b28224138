"""The alert rules and the dashboard: limits as graded by the server, names as it exports them, behaviour by promtool."""

import json
import re
import subprocess

import pytest
import yaml
from conftest import ROOT

FOLDER = ROOT / "config/prometheus"
RULES = FOLDER / "krserve-alerts.yml"
NAME = re.compile(r"\b(?:krserve|vllm):\w+")


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def promtool():
    script = ROOT / "scripts/promtool.sh"
    found = subprocess.run([script], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr

    def run(*arguments):
        done = subprocess.run(
            [found.stdout.strip(), *map(str, arguments)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def exported_names(server):
    lines = server.get("/metrics").text.splitlines()
    return {re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")}


def test_each_graded_metric_has_a_warning_and_a_critical_alert_at_its_limits(server):
    left = {r["alert"]: r for r in rules() if "metric" in r["labels"]}
    for component, state in server.get("/status").json()["components"].items():
        for metric in state["metrics"]:
            labels = {"component": component, "metric": metric["name"]}
            sign = "<" if metric["higher_is_better"] else ">"
            shapes = set()
            for severity in ("warning", "critical"):
                wanted = labels | {"severity": severity}
                found = [name for name, rule in left.items() if rule["labels"] == wanted]
                assert len(found) == 1, f"{wanted}: {found}"
                rule = left.pop(found[0])
                limit = f"\n  {sign} {metric[severity]:g}\n"
                assert rule["expr"].count(limit) == 1, f"{found[0]} has not {limit.strip()}"
                shapes.add((rule["expr"].replace(limit, ""), rule["annotations"]["remedy"]))
            assert len(shapes) == 1, "a pair differs in more than its limit"
    assert left == {}, "alerts of metrics that nobody grades"


def test_rules_and_dashboard_use_names_that_the_server_exports(server):
    known = exported_names(server)
    texts = [rule["expr"] for rule in rules()]
    texts.append((FOLDER / "krserve-dashboard.json").read_text())
    for text in texts:
        used = set(NAME.findall(text))
        assert used or "up{" in text
        assert used <= known, f"not in /metrics: {used - known}"


def test_counters_are_counters_where_rates_are_taken(server):
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", server.get("/metrics").text, re.MULTILINE))
    for rule in rules():
        for name in re.findall(r"(?:rate|increase)\((\S+?)\[", rule["expr"]):
            assert types[name] == "counter", name


def test_the_alerts_fire_when_they_should(promtool):
    promtool("check", "config", FOLDER / "prometheus.yml")
    promtool("check", "rules", RULES)
    promtool("test", "rules", ROOT / "tests/http/krserve-alerts.test.yml")


def test_promtool_finds_a_moved_limit(promtool, tmp_path):
    """The tests of the rules can fail."""
    for folder in ("config/prometheus", "tests/http"):
        (tmp_path / folder).mkdir(parents=True)
    moved = RULES.read_text().replace("> 12\n", "> 11\n")
    assert moved != RULES.read_text()
    (tmp_path / "config/prometheus" / RULES.name).write_text(moved)
    test = ROOT / "tests/http/krserve-alerts.test.yml"
    copy = tmp_path / "tests/http" / test.name
    copy.write_text(test.read_text())
    with pytest.raises(AssertionError, match="KrserveBlitQueueDepthWarning"):
        promtool("test", "rules", copy)


def test_the_dashboard_is_one_that_grafana_reads():
    board = json.loads((FOLDER / "krserve-dashboard.json").read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) > 0
    for panel in board["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        assert all(target["expr"] for target in panel["targets"])
