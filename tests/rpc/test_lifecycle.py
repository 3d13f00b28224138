"""How the process ends, and what it does with calls in flight; clients that go or do not read."""

import json
import os
import signal
import subprocess
import time

import pytest
from conftest import BINARY, QUESTION, ROOT, STORY, RpcFailure, wait_until

SHORT_STORY = STORY | {"max_tokens": 100}


@pytest.fixture
def loaded(start_client):
    client = start_client()
    client.call("load_model", model="tiny")
    return client


def test_end_of_input_drains(loaded):
    pending = [loaded.start("generate", **SHORT_STORY) for _ in range(3)]
    loaded.close_input()
    assert loaded.wait_exit() == 0
    assert [len(p.wait()["tokens"]) for p in pending] == [100] * 3


def test_end_of_input_before_the_line_break_still_counts(start_client):
    client = start_client()
    client.send_raw(b'{"jsonrpc":"2.0","id":1,"method":"health"}')
    client.close_input()
    assert client.other()["id"] == 1
    assert client.wait_exit() == 0


def test_end_of_input_waits_for_a_load(start_client):
    client = start_client()
    load = client.start("load_model", model="tiny")
    client.close_input()
    assert client.wait_exit() == 0
    assert load.wait()["model"]["name"] == "tiny"


def test_end_of_input_without_calls_ends_at_once(start_client):
    client = start_client()
    client.close_input()
    assert client.wait_exit() == 0


def test_drain_time_limit_cancels_the_rest(start_client):
    client = start_client("--set", "server.drain_timeout_s=0")
    client.call("load_model", model="tiny")
    pending = client.start("generate", **STORY)
    pending.wait_for_chunk()
    client.close_input()
    assert client.wait_exit() == 0
    assert pending.wait()["finish_reason"] == "cancelled"


def test_shutdown_drains_and_refuses_new_work(loaded):
    running = loaded.start("generate", **STORY)
    running.wait_for_chunk()
    ending = loaded.start("shutdown")
    assert loaded.refusal("generate", **QUESTION).code == -32004
    assert loaded.refusal("load_model", model="tiny", name="x").data["draining"]
    assert loaded.refusal("shutdown").code == -32004
    assert loaded.call("health")["status"] == "draining"
    assert loaded.call("cancel", request=running.id)["cancelled"]
    assert running.wait()["finish_reason"] == "cancelled"
    assert ending.wait() == {"drained": True}
    assert loaded.wait_exit() == 0


def test_shutdown_with_a_time_limit_cancels_the_rest(loaded):
    running = loaded.start("generate", **STORY)
    running.wait_for_chunk()
    assert loaded.call("shutdown", drain_timeout_s=0) == {"drained": False}
    assert running.wait()["finish_reason"] == "cancelled"
    assert loaded.wait_exit() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_drain(loaded, number):
    pending = loaded.start("generate", **SHORT_STORY)
    pending.wait_for_chunk()
    loaded.process.send_signal(number)
    assert loaded.wait_exit() == 0
    assert pending.wait()["finish_reason"] == "length"


def test_a_second_signal_ends_at_once(loaded):
    pending = [loaded.start("generate", **STORY) for _ in range(100)]
    pending[0].wait_for_chunk()
    loaded.process.send_signal(signal.SIGTERM)
    wait_until(lambda: b"finishing what is in flight" in b"".join(loaded.log))
    loaded.process.send_signal(signal.SIGTERM)
    assert loaded.wait_exit() == 1


def test_closed_output_cancels_all_and_ends(loaded):
    loaded.start("generate", **STORY).wait_for_chunk()
    # Closing the file would wait for the thread that reads it.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, loaded.process.stdout.fileno())
    os.close(nothing)
    assert loaded.process.wait(timeout=60) == 0
    wait_until(lambda: b"the client has gone" in b"".join(loaded.log))


def test_closed_output_ends_an_idle_process_too():
    process = subprocess.Popen(
        [str(BINARY), "rpc"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    process.stdin.close()


def test_a_client_that_does_not_read_loses_nothing():
    process = subprocess.Popen(
        [str(BINARY), "rpc", "--log-level", "warn"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    def send(*requests):
        lines = [json.dumps({"jsonrpc": "2.0", **request}).encode() for request in requests]
        process.stdin.write(b"\n".join(lines) + b"\n")
        process.stdin.flush()

    frames = map(json.loads, process.stdout)
    send({"id": "load", "method": "load_model", "params": {"model": "tiny"}})
    while next(frames).get("id") != "load":
        pass
    # More answers than the pipe takes, and generations behind them.
    names = [f"story {i}" for i in range(4)]
    send(
        *[{"id": "config", "method": "get_config"}] * 30,
        *[{"id": name, "method": "generate", "params": STORY} for name in names],
        {"id": "end", "method": "shutdown"},
    )
    time.sleep(1)  # so that the pipe is full while the engine works
    received = list(frames)
    assert process.wait(timeout=60) == 0
    process.stdin.close()
    process.stdout.close()
    results = {frame["id"]: frame["result"] for frame in received if "id" in frame}
    assert sum(frame.get("id") == "config" for frame in received) == 30
    assert results["end"] == {"drained": True}
    for name in names:
        chunks = [f["params"] for f in received if f.get("params", {}).get("request") == name]
        assert "".join(c["text"] for c in chunks) == results[name]["text"]
        assert [t for c in chunks for t in c["tokens"]] == results[name]["tokens"]
        assert len(results[name]["tokens"]) == 1500


def test_unload_waits_for_generations(loaded):
    running = loaded.start("generate", **SHORT_STORY)
    running.wait_for_chunk()
    unload = loaded.start("unload_model")
    assert unload.wait()["drained"]
    assert running.wait()["finish_reason"] == "length"
    assert loaded.call("health")["status"] == "idle"


def test_unload_by_force_cancels(loaded):
    running = loaded.start("generate", **STORY)
    running.wait_for_chunk()
    unload = loaded.start("unload_model", force=True)
    assert not unload.wait()["drained"]
    assert running.wait()["finish_reason"] == "cancelled"


def test_a_model_that_is_being_unloaded_takes_no_requests(loaded):
    running = loaded.start("generate", **STORY)
    running.wait_for_chunk()
    unload = loaded.start("unload_model")
    for method, params in {"generate": QUESTION, "unload_model": {}}.items():
        with pytest.raises(RpcFailure) as caught:
            loaded.call(method, **params)
        assert caught.value.code == -32001
    loaded.call("cancel", request=running.id)
    unload.wait()


def test_wrong_flags_and_settings_end_with_their_codes():
    for arguments, code in (["--nonsense"], 2), (["--set", "engine.thread=1"], 78):
        done = subprocess.run(
            [str(BINARY), "rpc", *arguments], cwd=ROOT, capture_output=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (code, b"")
