"""What the server does beside answering: disconnects, limits, concurrency, metrics, shutdown."""

import json
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
import requests
from conftest import BINARY, MODEL, ROOT, wait_until
from prometheus_client.parser import text_string_to_metric_families

ENDLESS = {
    "messages": [{"role": "user", "content": "Tell me a story."}],
    "max_tokens": 1500,
    "ignore_eos": True,
    "temperature": 0,
}


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def http_post(path, body):
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def read_until(connection, end):
    data = b""
    while end not in data:
        piece = connection.recv(65536)
        assert piece, f"closed after {data!r}"
        data += piece
    return data


def idle(metrics):
    return metrics["vllm:num_requests_running"] == 0 and metrics["vllm:num_requests_waiting"] == 0


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_disconnect_frees_the_pages_early(server, stream):
    wait_until(lambda: idle(server.metrics()))
    before = server.metrics()
    with connect(server) as connection:
        connection.sendall(http_post("/v1/chat/completions", ENDLESS | {"stream": stream}))
        if stream:
            read_until(connection, b'"content":"')
        wait_until(
            lambda: server.metrics()["krserve:kv_pages_used"] > before["krserve:kv_pages_used"]
        )
    wait_until(lambda: idle(server.metrics()))
    after = server.metrics()
    assert after["krserve:kv_pages_used"] == before["krserve:kv_pages_used"]
    assert after["vllm:kv_cache_usage_perc"] == before["vllm:kv_cache_usage_perc"]
    assert (
        after["krserve:requests_cancelled_total"] == before["krserve:requests_cancelled_total"] + 1
    )
    made = after["vllm:generation_tokens_total"] - before["vllm:generation_tokens_total"]
    assert made < ENDLESS["max_tokens"]


def test_disconnect_while_queued_leaves_the_queue(start_server):
    server = start_server("--set", "engine.parallel=1")
    with connect(server) as running:
        running.sendall(http_post("/v1/chat/completions", ENDLESS | {"stream": True}))
        read_until(running, b'"content":"')
        with connect(server) as queued:
            queued.sendall(http_post("/v1/chat/completions", ENDLESS))
            wait_until(lambda: server.metrics()["vllm:num_requests_waiting"] == 1)
        wait_until(lambda: server.metrics()["vllm:num_requests_waiting"] == 0)


def test_full_queue_is_a_rate_limit_error(start_server):
    server = start_server("--set", "engine.parallel=1", "--set", "engine.max_queued=1")
    with connect(server) as running, connect(server) as waiting:
        running.sendall(http_post("/v1/chat/completions", ENDLESS))
        wait_until(lambda: server.metrics()["vllm:num_requests_running"] == 1)
        waiting.sendall(http_post("/v1/chat/completions", ENDLESS))
        wait_until(lambda: server.metrics()["vllm:num_requests_waiting"] == 1)
        with pytest.raises(openai.RateLimitError) as error:
            server.client().completions.create(model="tiny", prompt="Once")
    assert error.value.code == "queue_full"
    assert int(error.value.response.headers["retry-after"]) >= 1


def test_eight_clients_at_once_get_the_answers_of_one_by_one(server):
    questions = [f"What is {17 + 3 * i} + {25 + i}?" for i in range(8)]

    def ask(question):
        body = {
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": 40,
            "ignore_eos": True,
        }
        return server.post("/v1/chat/completions", body).json()["choices"][0]["message"]["content"]

    one_by_one = [ask(question) for question in questions]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, questions)) == one_by_one


def test_body_over_the_limit_is_413_without_being_read(start_server):
    server = start_server("--set", "server.max_body_mb=1")
    with connect(server) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 900000000\r\n\r\n"
        )
        assert b" 413 " in read_until(connection, b"\r\n\r\n")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"messages": "hi"}', b'{"messages": ["\xff"]}', b"[" * 100_000, b"\x00"],
    ids=["empty", "open", "array", "type", "utf8", "deep", "zero"],
)
def test_bad_bodies_are_400_in_openais_shape(server, body):
    answer = requests.post(server.url + "/v1/chat/completions", data=body, timeout=60)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["message"]


def test_unknown_path_and_wrong_method(server):
    assert server.get("/v1/nothing").status_code == 404
    answer = server.get("/v1/chat/completions")
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]
    assert answer.headers["x-request-id"]


def test_metrics_are_what_prometheus_reads(server):
    server.post("/v1/completions", {"prompt": "Once", "max_tokens": 4})
    families = {f.name: f for f in text_string_to_metric_families(server.get("/metrics").text)}
    for name, kind in {
        "vllm:num_requests_running": "gauge",
        "vllm:generation_tokens": "counter",
        "vllm:time_to_first_token_seconds": "histogram",
        "krserve:pool_live_bytes": "gauge",
        "krserve:blit_uploads": "counter",
        "krserve:ring_acquisitions": "counter",
        "process_resident_memory_bytes": "gauge",
    }.items():
        assert families[name].type == kind, name
    assert all(
        sample.labels["model_name"] == "tiny"
        for sample in families["vllm:generation_tokens"].samples
    )
    metrics = server.metrics()
    assert metrics["vllm:generation_tokens_total"] > 0
    assert metrics["krserve:ring_acquisitions_total"] > 0
    assert metrics["krserve:pool_allocations_total"] > 0
    assert metrics["vllm:time_to_first_token_seconds_count"] > 0


def test_sigterm_lets_the_running_request_finish_and_exits_with_0(start_server):
    server = start_server()
    with connect(server) as connection:
        body = ENDLESS | {"stream": True, "max_tokens": 400}
        connection.sendall(http_post("/v1/chat/completions", body))
        read_until(connection, b'"content":"')
        server.terminate()
        assert b'"finish_reason":"length"' in read_until(connection, b"data: [DONE]")
    assert server.process.wait(timeout=60) == 0
    with pytest.raises(OSError):
        connect(server)


def test_sigterm_when_idle_exits_with_0(start_server):
    server = start_server()
    server.terminate()
    assert server.process.wait(timeout=60) == 0


def test_sigterm_ends_what_runs_past_the_drain_time(start_server):
    server = start_server("--set", "server.drain_timeout_s=0")
    with connect(server) as connection:
        connection.sendall(http_post("/v1/chat/completions", ENDLESS | {"stream": True}))
        read_until(connection, b'"content":"')
        server.terminate()
        assert server.process.wait(timeout=60) == 0


def test_port_in_use_is_an_exit_1_with_the_address(server):
    command = [BINARY, "serve", "--model", MODEL, "--port", str(server.port)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert str(server.port) in ended.stderr


def test_many_connections_that_say_nothing_do_not_block_health(server):
    silent = [connect(server) for _ in range(100)]
    try:
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(server.get("/health").status_code))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert answers == [200] * 4
    finally:
        for connection in silent:
            connection.close()
