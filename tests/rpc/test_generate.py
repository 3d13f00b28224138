"""Streams, several generations at once, cancelling."""

import pytest
from conftest import QUESTION, STORY, RpcFailure, wait_until

PROMPTS = ["Once upon a time", "The cat", "One, two, three,", "The weather today", "My name is"]


def test_the_answer_is_right(client):
    result = client.call("generate", **QUESTION)
    assert "42" in result["text"]
    assert result["finish_reason"] == "stop"


def test_chunks_add_up_to_the_result(client):
    pending = client.start("generate", prompt="Once upon a time", max_tokens=60, temperature=0)
    result = pending.wait()
    assert [c["index"] for c in pending.chunks] == list(range(len(pending.chunks)))
    assert {c["request"] for c in pending.chunks} == {pending.id}
    assert "".join(c["text"] for c in pending.chunks) == result["text"]
    assert [t for c in pending.chunks for t in c["tokens"]] == result["tokens"]
    usage = result["usage"]
    assert usage["completion_tokens"] == len(result["tokens"])
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    times = result["timings"]
    assert 0 < times["ttft_ms"] <= times["total_ms"]


def test_without_stream_there_is_the_result_alone(client):
    streamed = client.call("generate", **QUESTION)
    pending = client.start("generate", stream=False, **QUESTION)
    assert pending.wait()["tokens"] == streamed["tokens"]
    assert not pending.chunks


def test_text_ids_work_as_well(client):
    pending = client.start("generate", as_id="räksmörgås", **QUESTION)
    pending.wait()
    assert {c["request"] for c in pending.chunks} == {"räksmörgås"}


def test_at_once_as_alone(client):
    options = {"max_tokens": 40, "temperature": 0.8, "top_p": 0.9}
    alone = [
        client.call("generate", prompt=p, seed=i, **options)["tokens"]
        for i, p in enumerate(PROMPTS)
    ]
    together = [
        client.start("generate", prompt=p, seed=i, **options) for i, p in enumerate(PROMPTS)
    ]
    assert [pending.wait()["tokens"] for pending in together] == alone


def test_length_stop_and_bias_do_what_they_say(client):
    cut = client.call("generate", prompt="Once upon a time", max_tokens=5, temperature=0)
    assert (cut["finish_reason"], len(cut["tokens"])) == ("length", 5)
    word = cut["text"].split()[1]
    stopped = client.call(
        "generate", prompt="Once upon a time", max_tokens=20, temperature=0, stop=[word]
    )
    assert stopped["finish_reason"] == "stop"
    assert word not in stopped["text"]
    ended = client.call(
        "generate",
        prompt="Once upon a time",
        max_tokens=20,
        temperature=0,
        stop_token_ids=[cut["tokens"][2]],
    )
    assert ended["tokens"] == cut["tokens"][:3]
    biased = client.call(
        "generate",
        prompt="Once upon a time",
        max_tokens=5,
        temperature=0,
        logit_bias={str(cut["tokens"][0]): -100},
    )
    assert biased["tokens"][0] != cut["tokens"][0]


def test_context_and_default_length(start_client):
    client = start_client()
    client.call("load_model", model="tiny", config={"engine": {"ctx_size": 64}})
    result = client.call("generate", prompt="Once", ignore_eos=True, temperature=0)
    assert result["finish_reason"] == "length"
    assert result["usage"]["total_tokens"] == 64
    tokens = client.call("tokenize", text="Once " * 100)["tokens"]
    failure = client.refusal("generate", prompt_tokens=tokens)
    assert (failure.code, failure.data["reason"]) == (-32602, "context_length_exceeded")


def test_cancel_while_it_runs_ends_it_with_what_it_has(client):
    pending = client.start("generate", **STORY)
    pending.wait_for_chunk()
    assert client.call("cancel", request=pending.id) == {"cancelled": True}
    result = pending.wait()
    assert result["finish_reason"] == "cancelled"
    assert 0 < len(result["tokens"]) < 1500
    assert "".join(c["text"] for c in pending.chunks) == result["text"]


def test_cancel_in_the_same_frame_comes_in_time(client):
    client.send(
        [
            {"jsonrpc": "2.0", "id": "both", "method": "generate", "params": STORY},
            {"jsonrpc": "2.0", "id": "stop", "method": "cancel", "params": {"request": "both"}},
        ]
    )
    frame = client.other()
    while not isinstance(frame, list):
        assert frame["params"]["request"] == "both"
        frame = client.other()
    generated, cancelled = frame
    assert generated["result"]["finish_reason"] == "cancelled"
    assert cancelled["result"] == {"cancelled": True}


def test_cancel_afterwards_or_of_nothing_says_so(client):
    pending = client.start("generate", **QUESTION)
    result = pending.wait()
    assert client.call("cancel", request=pending.id) == {"cancelled": False}
    assert client.call("cancel", request="never seen") == {"cancelled": False}
    assert result["finish_reason"] == "stop"


def test_cancel_frees_the_pages(client):
    pending = client.start("generate", **STORY)
    pending.wait_for_chunk()
    client.call("cancel", request=pending.id)
    pending.wait()
    wait_until(lambda: client.call("get_statistics")["engine"]["kv_pages_used"] == 0)


def test_id_in_use_is_refused_and_free_afterwards(start_client):
    client = start_client()
    client.call("load_model", model="tiny")
    request = {"jsonrpc": "2.0", "id": "taken", "method": "generate", "params": STORY}

    def answer():
        while "method" in (frame := client.other()):
            pass
        return frame

    client.send(request)
    client.send(request)
    error = answer()["error"]
    assert (error["code"], error["data"]["kind"]) == (-32600, "invalid_request")
    assert client.call("cancel", request="taken")["cancelled"]
    assert answer()["result"]["finish_reason"] == "cancelled"
    client.send(request | {"params": QUESTION})
    assert "42" in answer()["result"]["text"]


def test_numbers_and_texts_are_different_ids(client):
    number = client.start("generate", as_id=987654, **STORY)
    text = client.start("generate", as_id="987654", **STORY)
    for pending in (number, text):
        pending.wait_for_chunk()
    client.call("cancel", request="987654")
    assert text.wait()["finish_reason"] == "cancelled"
    assert number.response is None or number.wait()["finish_reason"] == "length"
    client.call("cancel", request=987654)
    number.wait()


def test_more_requests_than_the_queue_holds_are_refused(start_client):
    client = start_client("--set", "engine.max_queued=1", "--set", "engine.parallel=1")
    client.call("load_model", model="tiny")
    pending = [client.start("generate", **STORY) for _ in range(6)]
    failures = []
    for late in pending[2:]:
        with pytest.raises(RpcFailure) as caught:
            late.wait()
        failures.append(caught.value)
    assert {(f.code, f.data["kind"]) for f in failures} == {(-32004, "overloaded")}
    for early in pending[:2]:
        client.call("cancel", request=early.id)
        assert early.wait()["finish_reason"] == "cancelled"
