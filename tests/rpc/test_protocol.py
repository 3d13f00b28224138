"""JSON-RPC itself: frames, batches, errors."""

import json

import pytest
from conftest import QUESTION

HEALTH = {"jsonrpc": "2.0", "id": 1, "method": "health"}


def error_of(frame, request=None):
    assert frame["id"] == request
    return frame["error"]["code"]


def still_serves(client):
    return client.call("health")["status"] == "ok"


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"hello",
        b'{"jsonrpc": "2.0", "method": "health", "id": 1',
        b'{"jsonrpc": "2.0", "method": "health", "id": 1}}',
        b"[",
        b'[{"jsonrpc": "2.0", "method": "health", "id": 1},',
        b'{"jsonrpc": "2.0", "method": "health", "id": 1} {}',
        b'{"jsonrpc": "2.0", "method": "hea\xff", "id": 1}',
        b'{"jsonrpc": "2.0", "method": "\xed\xa0\x80", "id": 1}',
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b"\x00",
        b'{"jsonrpc": "2.0", "method": "health", "id": 1}\x00{}',
        b"NaN",
    ],
)
def test_what_is_not_json_is_a_parse_error(client, line):
    client.send_raw(line + b"\n")
    assert error_of(client.other()) == -32700
    assert still_serves(client)


@pytest.mark.parametrize(
    ("frame", "request_id"),
    [
        (1, None),
        ("health", None),
        (None, None),
        ({}, None),
        ({"id": 1, "method": "health"}, 1),
        ({"jsonrpc": "1.0", "id": 1, "method": "health"}, 1),
        ({"jsonrpc": 2.0, "id": "x", "method": "health"}, "x"),
        ({"jsonrpc": "2.0", "id": 1}, 1),
        ({"jsonrpc": "2.0", "id": 1, "method": 5}, 1),
        ({"jsonrpc": "2.0", "method": 5}, None),
        ({"jsonrpc": "2.0", "id": [1], "method": "health"}, None),
        ({"jsonrpc": "2.0", "id": 1.5, "method": "health"}, None),
        ({"jsonrpc": "2.0", "id": True, "method": "health"}, None),
        ({"jsonrpc": "2.0", "id": "x" * 257, "method": "health"}, None),
        ({"jsonrpc": "2.0", "id": 1, "method": "health", "params": "none"}, 1),
        ({"jsonrpc": "2.0", "id": 1, "method": "health", "params": None}, 1),
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, 1),
    ],
)
def test_what_is_no_request_is_an_invalid_request(client, frame, request_id):
    client.pending.clear()
    client.send(frame)
    assert error_of(client.other(), request_id) == -32600
    assert still_serves(client)


def test_deep_nesting_is_an_invalid_request(client):
    client.send_raw(b"[" * 100_000 + b"]" * 100_000 + b"\n")
    assert error_of(client.other()) == -32600
    assert still_serves(client)


def test_unknown_methods_list_the_known_ones(client):
    for method in ("", "Generate", "rpc.discover", "generate\n", "x" * 10_000):
        failure = client.refusal(method)
        assert failure.code == -32601
        assert "generate" in failure.data["methods"]


def test_params_go_by_name(client):
    client.pending.clear()
    client.send(HEALTH | {"params": []})
    assert error_of(client.other(), 1) == -32602


def test_id_may_be_null_except_for_generate(client):
    client.send(HEALTH | {"id": None})
    answer = client.other()
    assert answer["id"] is None
    assert answer["result"]["status"] == "ok"
    client.send(HEALTH | {"id": None, "method": "generate", "params": QUESTION})
    assert error_of(client.other()) == -32600


def test_blank_lines_and_windows_line_ends_are_allowed(client):
    client.pending.clear()
    client.send_raw(b"\n \t\r\n" + json.dumps(HEALTH).encode() + b"\r\n")
    assert client.other()["result"]["status"] == "ok"


def test_a_frame_may_come_in_pieces_and_two_in_one(client):
    client.pending.clear()
    line = json.dumps(HEALTH).encode() + b"\n"
    for byte in line:
        client.send_raw(bytes([byte]))
    client.send_raw(line + line[:5])
    client.send_raw(line[5:])
    for _ in range(3):
        assert client.other()["result"]["status"] == "ok"


def test_unknown_members_of_a_request_are_passed_over(client):
    client.pending.clear()
    client.send(HEALTH | {"trace": "abc"})
    assert client.other()["result"]["status"] == "ok"


def test_notifications_are_not_answered(client):
    for frame in (
        {"method": "health"},
        {"method": "no_such_method"},
        {"method": "generate", "params": QUESTION},
        {"method": "set_config", "params": {"values": {"no": 1}}},
        {"method": "health", "params": []},
    ):
        client.send({"jsonrpc": "2.0", **frame})
    assert still_serves(client)
    assert client.others.empty()
    log = b"".join(client.log).decode()
    assert "generate was refused and has no id to answer under" in log


def test_a_notification_takes_effect(start_client):
    client = start_client()
    client.send(
        {"jsonrpc": "2.0", "method": "set_config", "params": {"values": {"engine.parallel": 5}}}
    )
    config = client.call("get_config", path="engine.parallel")["config"]
    assert config == {"engine": {"parallel": 5}}


def test_a_batch_is_answered_in_one_frame_in_its_order(client):
    client.send(
        [
            {"jsonrpc": "2.0", "id": "slow", "method": "generate", "params": QUESTION},
            7,
            {"jsonrpc": "2.0", "method": "health"},
            {"jsonrpc": "2.0", "id": "none", "method": "no_such_method"},
            {"jsonrpc": "2.0", "id": "text", "method": "tokenize", "params": {"text": "a"}},
            {"jsonrpc": "2.0", "id": "bad", "method": "tokenize", "params": {"text": 1}},
            HEALTH,
        ]
    )
    frame = client.other()
    while not isinstance(frame, list):
        assert frame["method"] == "generate_chunk"
        frame = client.other()
    assert [answer["id"] for answer in frame] == ["slow", None, "none", "text", "bad", 1]
    codes = [answer.get("error", {}).get("code") for answer in frame]
    assert codes == [None, -32600, -32601, None, -32602, None]
    assert "42" in frame[0]["result"]["text"]


def test_a_batch_of_notifications_is_not_answered(client):
    client.send([{"jsonrpc": "2.0", "method": "health"}] * 3)
    assert still_serves(client)
    assert client.others.empty()


def test_a_batch_of_one_is_answered_as_a_batch(client):
    client.send([HEALTH])
    (answer,) = client.other()
    assert answer["result"]["status"] == "ok"


def test_an_empty_batch_is_an_invalid_request(client):
    client.send([])
    assert error_of(client.other()) == -32600


def test_a_batch_of_nonsense_gets_an_error_each(client):
    client.send([1, [], "x"])
    assert [error_of(answer) for answer in client.other()] == [-32600] * 3


def test_a_batch_of_too_many_is_refused_as_a_whole(client):
    client.send([HEALTH] * 1001)
    assert error_of(client.other()) == -32600


def test_a_huge_frame_is_skipped_and_refused_with_the_numbers(start_client):
    client = start_client("--set", "rpc.max_frame_mb=1")
    limit = 1024 * 1024
    empty = b'{"jsonrpc":"2.0","id":"raw","method":"health","params":{}'
    client.send_raw(empty + b" " * (limit - len(empty) - 1) + b"}\n")
    assert client.other()["result"]["status"] == "idle"
    for length in (limit + 1, 3 * limit):
        client.send_raw(b"[" + b"x" * (length - 1) + b"\n")
        frame = client.other()
        assert error_of(frame) == -32600
        assert frame["error"]["data"]["bytes"] == length
        assert frame["error"]["data"]["limit_bytes"] == limit
        assert "rpc.max_frame_mb" in frame["error"]["message"]
    assert client.call("health")["status"] == "idle"
    client.call("set_config", values={"rpc": {"max_frame_mb": 2}})
    client.send_raw(empty + b" " * limit + b"}\n")
    assert client.other()["result"]["status"] == "idle"
