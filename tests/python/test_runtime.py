"""python -m krserve.runtime: the dispatcher of `krserve rpc` inside Python."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

LIMIT_S = 60


class Runtime:
    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "krserve.runtime", "--log-level", "error", *arguments]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def send(self, **frame: Any) -> None:
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **frame}) + "\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        return json.loads(self.process.stdout.readline())

    def answer(self, id: int, method: str, **params: Any) -> dict[str, Any]:
        """The response to a request; its notifications are dropped."""
        self.send(id=id, method=method, params=params)
        while True:
            frame = self.read()
            if frame.get("id") == id:
                return frame


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    made = Runtime("--device", "cpu", "--threads", "2")
    yield made
    made.process.kill()
    made.process.wait()
    for stream in (made.process.stdin, made.process.stdout, made.process.stderr):
        with contextlib.suppress(BrokenPipeError):
            stream.close()


def test_a_model_is_loaded_and_answers(runtime: Runtime) -> None:
    loaded = runtime.answer(1, "load_model", model=str(ROOT / "models/tiny"), name="t")
    assert loaded["result"]["model"]["architecture"] == "qwen2"
    answer = runtime.answer(
        2,
        "generate",
        messages=[{"role": "user", "content": "What is 17 + 25?"}],
        temperature=0,
        max_tokens=16,
    )
    assert answer["result"]["text"].strip() == "42"
    assert runtime.answer(3, "shutdown")["result"] == {"drained": True}
    assert runtime.process.wait(LIMIT_S) == 0


def test_a_model_named_by_a_flag_is_there_at_the_start() -> None:
    runtime = Runtime(
        "--device", "cpu", "-m", str(ROOT / "models/tiny"), "--set", "engine.ctx_size=64"
    )
    # It loads while requests are answered.
    while not (models := runtime.answer(1, "list_models")["result"]["models"]):
        time.sleep(0.01)
    assert [model["context_length"] for model in models] == [64]
    runtime.process.stdin.close()
    assert runtime.process.wait(LIMIT_S) == 0


def test_errors_are_json_rpcs(runtime: Runtime) -> None:
    assert runtime.answer(1, "no_such_method")["error"]["code"] == -32601
    assert runtime.answer(2, "generate", prompt="x")["error"]["code"] == -32001
    runtime.process.stdin.write("{broken\n")
    runtime.process.stdin.flush()
    assert runtime.read()["error"]["code"] == -32700


def test_the_end_of_the_input_ends_the_process(runtime: Runtime) -> None:
    assert runtime.answer(1, "health")["result"]["status"] == "idle"
    runtime.process.stdin.close()
    assert runtime.process.wait(LIMIT_S) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_cleanly(runtime: Runtime, number: int) -> None:
    runtime.answer(1, "health")
    runtime.process.send_signal(number)
    assert runtime.process.wait(LIMIT_S) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--threads", "-1"], 78, "--threads"),
        (["--set", "engine.thread=1"], 78, "engine.thread"),
        (["--set", "nonsense"], 2, "path=value"),
        (["-m", "no/such/directory/here"], 1, "no/such"),
    ],
)
def test_a_start_that_fails_says_why(arguments: list[str], code: int, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "krserve.runtime", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr


def test_what_python_prints_does_not_come_between_the_frames(tmp_path: Path) -> None:
    script = tmp_path / "noisy.py"
    script.write_text(
        "import threading, sys, time\n"
        "from krserve import runtime\n"
        "threading.Timer(0.05, lambda: print('noise', flush=True)).start()\n"
        "sys.exit(runtime.main(['--log-level', 'error']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    while "noise" not in process.stderr.readline():
        pass
    out, _ = process.communicate('{"jsonrpc": "2.0", "id": 1, "method": "health"}\n')
    assert json.loads(out)["result"]["status"] == "idle"
