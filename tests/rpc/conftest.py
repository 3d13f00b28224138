"""Drives the real `krserve rpc`; every frame in and out is checked against docs/json-rpc.schema.json."""

import contextlib
import itertools
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("KRSERVE_BIN", ROOT / "build/release/bin/krserve"))
MODEL = ROOT / "models/tiny"
SCHEMA = json.loads((ROOT / "docs/json-rpc.schema.json").read_text(encoding="utf-8"))
LIMIT_S = 60

QUESTION = {
    "messages": [{"role": "user", "content": "What is 17 + 25?"}],
    "max_tokens": 16,
    "temperature": 0,
}
STORY = {
    "messages": [{"role": "user", "content": "Tell me a story."}],
    "max_tokens": 1500,
    "ignore_eos": True,
    "temperature": 0,
}


def validator(name: str) -> jsonschema.Draft202012Validator:
    """Checks against one definition of the schema."""
    return jsonschema.Draft202012Validator(SCHEMA | {"anyOf": [{"$ref": f"#/$defs/{name}"}]})


CLIENT_FRAME = validator("client_frame")
SERVER_FRAME = validator("server_frame")
RESULTS = {
    name.removesuffix(".result"): validator(name)
    for name in SCHEMA["$defs"]
    if name.endswith(".result")
}


class RpcFailure(Exception):
    """An error object."""

    def __init__(self, error: dict) -> None:
        super().__init__(f"{error['code']} {error['message']}")
        self.code = error["code"]
        self.message = error["message"]
        self.data = error["data"]


class Pending:
    """A call that may not have been answered yet."""

    def __init__(self, method: str, request: int | str) -> None:
        self.method = method
        self.id = request
        self.chunks: list[dict] = []
        self.progress: list[dict] = []
        self.changed = threading.Condition()
        self.response: dict | None = None

    def wait(self) -> dict:
        """The result; raises RpcFailure."""
        self.until(lambda: self.response)
        assert self.response
        if "error" in self.response:
            raise RpcFailure(self.response["error"])
        RESULTS[self.method].validate(self.response["result"])
        return self.response["result"]

    def until(self, condition) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, LIMIT_S), f"{self.method}: no answer"

    def wait_for_chunk(self) -> None:
        self.until(lambda: self.chunks)


class Client:
    """One running `krserve rpc`."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [str(part) for part in (BINARY, "rpc", *arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.pending: dict[int | str, Pending] = {}
        self.others: queue.Queue = queue.Queue()  # answers without an id of ours, and batches
        self.broken: list[str] = []  # what was wrong with what was received
        self.log: list[bytes] = []
        self.ids = itertools.count(1)
        self.lock = threading.Lock()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        threading.Thread(target=self._collect_log, daemon=True).start()

    def _collect_log(self) -> None:
        assert self.process.stderr
        self.log.extend(self.process.stderr)

    def _read(self) -> None:
        assert self.process.stdout
        # A closed file is a test's own doing.
        with contextlib.suppress(ValueError):
            for line in self.process.stdout:
                try:
                    frame = json.loads(line)
                    SERVER_FRAME.validate(frame)
                except (ValueError, jsonschema.ValidationError) as error:
                    self.broken.append(f"{line[:200]!r}: {error}")
                    continue
                self._receive(frame)
        for pending in list(self.pending.values()):
            with pending.changed:
                pending.changed.notify_all()

    def _receive(self, frame) -> None:
        if isinstance(frame, list):
            self.others.put(frame)
            return
        params = frame.get("params", {})
        request = params["request"] if "method" in frame else frame["id"]
        with self.lock:
            pending = self.pending.get(request) if request is not None else None
        if pending is None:
            self.others.put(frame)
            return
        with pending.changed:
            if frame.get("method") == "generate_chunk":
                pending.chunks.append(params)
            elif frame.get("method") == "load_progress":
                pending.progress.append(params)
            else:
                pending.response = frame
            pending.changed.notify_all()

    def send_raw(self, data: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, frame: object) -> None:
        """A frame that need not fit the schema."""
        self.send_raw(json.dumps(frame).encode() + b"\n")

    def start(self, method: str, /, as_id: int | str | None = None, **params) -> Pending:
        request = next(self.ids) if as_id is None else as_id
        frame = {"jsonrpc": "2.0", "id": request, "method": method, "params": params}
        CLIENT_FRAME.validate(frame)
        return self.start_unchecked(frame)

    def start_unchecked(self, frame: dict) -> Pending:
        pending = Pending(frame.get("method", ""), frame["id"])
        with self.lock:
            self.pending[frame["id"]] = pending
        self.send(frame)
        return pending

    def call(self, method: str, /, **params) -> dict:
        return self.start(method, **params).wait()

    def refusal(self, method: str, /, **params) -> RpcFailure:
        """The error that a call gets, whose parameters need not fit the schema."""
        frame = {"jsonrpc": "2.0", "id": next(self.ids), "method": method, "params": params}
        with pytest.raises(RpcFailure) as caught:
            self.start_unchecked(frame).wait()
        return caught.value

    def other(self) -> dict | list:
        """The next frame that is no answer to a single request of ours."""
        return self.others.get(timeout=LIMIT_S)

    def close_input(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()

    def wait_exit(self) -> int:
        code = self.process.wait(timeout=LIMIT_S)
        self.reader.join(timeout=LIMIT_S)
        return code

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=LIMIT_S)
        assert not self.broken, self.broken


def wait_until(condition) -> None:
    """Polls."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"did not become true within {LIMIT_S} s"
        time.sleep(0.01)


@pytest.fixture
def start_client() -> Iterator:
    """Starts clients with arguments of their own; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> Client:
            client = Client(*arguments)
            stack.callback(client.stop)
            return client

        yield start


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Has models/tiny loaded; shared by the tests of a file that leave it as they found it."""
    shared = Client("--preset", "all-on")
    shared.call("load_model", model="tiny")
    yield shared
    shared.stop()
