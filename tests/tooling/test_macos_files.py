"""What only a Mac runs - workflow, formula, setup's Homebrew branch - names only what there is."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github/workflows/macos.yml"
# Bash 3.2, which macOS has as /bin/bash and env finds first without Homebrew's, lacks these.
NEWER_BASH = re.compile(r"\b(mapfile|readarray)\b|declare -A|local -n|\$\{\w+(,,|\^\^)\}|\|&|&>>")
# Of GNU's tools; BSD's do not know them.
GNU_ONLY = re.compile(
    r"\bsed -i |\breadlink -f|\bnproc\b|\bsha256sum\b|-printf\b|\bstat -c\b|\bgrep -\w*P|\bdate -d\b"
)
MAC_SCRIPTS = ["scripts/build.sh", "scripts/run_tests.sh", "scripts/clang_format.sh", "scripts/lint.sh"]


def workflow_commands():
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["mac"]["steps"]
    return [step["run"] for step in steps if "run" in step]


def brew_packages():
    text = (ROOT / "scripts/setup.sh").read_text()
    return set(re.search(r"BREW_PACKAGES=\(([^)]*)\)", text).group(1).split())


def code_lines(path):
    for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
        if not line.lstrip().startswith("#"):
            yield number, line


def test_the_workflow_runs_files_that_are_there():
    commands = "\n".join(workflow_commands())
    scripts = re.findall(r"\bscripts/[\w.]+", commands)
    assert scripts
    for script in scripts:
        assert (ROOT / script).is_file(), script
    for model in re.findall(r"--model (\S+)", commands):
        assert (ROOT / model).is_dir(), model


def test_the_workflow_sets_keys_that_the_configuration_has():
    config = yaml.safe_load((ROOT / "config/runtime.yaml").read_text())
    keys = re.findall(r"--set ([\w.]+)=", "\n".join(workflow_commands()))
    assert keys
    for key in keys:
        section = config
        for part in key.split("."):
            assert part in section, key
            section = section[part]


def test_the_formula_needs_what_setup_installs():
    formula = (ROOT / "packaging/homebrew/krserve.rb").read_text()
    needs = re.findall(r'depends_on "([\w-]+)"', formula)
    assert needs
    assert set(needs) <= brew_packages()


@pytest.mark.parametrize("script", MAC_SCRIPTS)
def test_scripts_do_without_a_newer_bash_and_gnu_tools(script):
    for number, line in code_lines(script):
        assert not NEWER_BASH.search(line), f"{script}:{number}: {line}"
        assert not GNU_ONLY.search(line), f"{script}:{number}: {line}"


def test_setup_uses_a_newer_bash_in_its_debian_branch_alone():
    text = (ROOT / "scripts/setup.sh").read_text()
    start = text.index("setup_apt() {")
    debian = text[start : text.index("\n}\n", start)]
    for line in text.replace(debian, "").splitlines():
        assert not NEWER_BASH.search(line), line


@pytest.mark.parametrize("script", [*MAC_SCRIPTS, "scripts/setup.sh"])
def test_scripts_parse(script):
    subprocess.run(["bash", "-n", ROOT / script], check=True)
