"""Starts the real krserve binary for the tests of this folder."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("KRSERVE_BIN", ROOT / "build/release/bin/krserve"))
MODEL = ROOT / "models/tiny"
START_LIMIT_S = 120


class Server:
    """One running server. Arguments are added to `krserve serve --model models/tiny --port PORT`."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        command = [BINARY, "serve", "--model", MODEL, "--port", port, *arguments]
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        threading.Thread(target=self._collect_log, daemon=True).start()
        self.url = self._read_url()
        self.port = int(self.url.rsplit(":", 1)[1])
        self._wait_ready()

    def _collect_log(self) -> None:
        assert self.process.stderr
        self.log.extend(self.process.stderr)

    def _read_url(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        match = re.fullmatch(r"listening on (http://\S+)\n", line)
        assert match, f"first line was {line!r}; log: {''.join(self.log)}"
        return match[1]

    def _wait_ready(self) -> None:
        wait_until(lambda: self.get("/health").status_code == 200, START_LIMIT_S)

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=60)

    def post(self, path: str, body: object) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=120)

    def client(self, **options: object) -> openai.OpenAI:
        defaults = {"base_url": self.url + "/v1", "api_key": "none", "max_retries": 0}
        return openai.OpenAI(**(defaults | options))

    def metrics(self) -> dict[str, float]:
        """Sums over the labels, by sample name."""
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(self.get("/metrics").text):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0) + sample.value
        return sums

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=30)


def wait_until(condition, limit_s: float = 60) -> None:
    """Polls; fails after `limit_s`."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"did not become true within {limit_s} s"
        time.sleep(0.02)


@pytest.fixture
def start_server() -> Iterator:
    """Starts servers with arguments of their own; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, port: int = 0) -> Server:
            server = Server(*arguments, port=port)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Shared by the tests that leave it as they found it."""
    shared = Server("--preset", "all-on")
    yield shared
    shared.stop()


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    return server.client()
