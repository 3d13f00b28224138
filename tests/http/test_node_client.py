"""Runs the tests of the official npm client (node/) against the real server."""

import os
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent


def test_official_npm_client(server):
    node = shutil.which("node")
    assert node, "node was not found; install Node.js 20 or newer"
    assert (FOLDER / "node_modules/openai").is_dir(), "npm ci has not run in tests/http; make setup"
    ended = subprocess.run(
        [node, "--test", "node/openai.test.mjs"],
        cwd=FOLDER,
        env=os.environ | {"KRSERVE_URL": server.url},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
