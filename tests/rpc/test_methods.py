"""What each method answers."""

import json
import os

import pytest
from conftest import MODEL, QUESTION, ROOT, SCHEMA, RpcFailure, wait_until


def test_load_model_reports_progress_and_describes_the_model(start_client):
    client = start_client()
    pending = client.start("load_model", model=str(MODEL), name="mine")
    model = pending.wait()["model"]
    assert model["name"] == "mine"
    assert model["path"] == str(MODEL)
    assert model["architecture"] == "qwen2"
    assert model["device"] == "cpu"
    assert model["weight_bytes"] > 0
    assert model["kv_cache_bytes"] > 0
    assert pending.progress
    assert {p["model"] for p in pending.progress} == {"mine"}
    fractions = [p["fraction"] for p in pending.progress if p["what"] == "loading weights"]
    assert fractions == sorted(fractions)
    assert client.call("list_models") == {"models": [model]}


def test_embedded_model_is_called_tiny(client):
    (model,) = client.call("list_models")["models"]
    assert model["name"] == "tiny"
    assert os.path.samefile(model["path"], MODEL)


def test_load_model_takes_settings_of_its_own(start_client):
    client = start_client()
    model = client.call("load_model", model="tiny", config={"engine": {"ctx_size": 256}})["model"]
    assert model["context_length"] == 256
    assert client.call("get_config", path="engine.ctx_size")["config"]["engine"]["ctx_size"] == 0


def test_several_models_answer_by_name(start_client):
    client = start_client()
    loads = [client.start("load_model", model="tiny", name=name) for name in ("one", "two")]
    for load in loads:
        load.wait()
    assert {m["name"] for m in client.call("list_models")["models"]} == {"one", "two"}
    with pytest.raises(RpcFailure) as unnamed:
        client.call("generate", **QUESTION)
    assert unnamed.value.code == -32001
    answers = [client.call("generate", model=name, **QUESTION)["text"] for name in ("one", "two")]
    assert answers[0] == answers[1]
    assert "42" in answers[0]
    client.call("unload_model", model="one")
    assert client.call("generate", **QUESTION)["text"] == answers[0]


def test_name_in_use_is_refused(client):
    failure = client.refusal("load_model", model="tiny")
    assert failure.code == -32602
    assert failure.data["param"] == "name"


@pytest.mark.parametrize("model", ["no/such/directory", "tests", "."])
def test_what_is_no_model_is_refused(client, model):
    failure = client.refusal("load_model", model=model, name="other")
    assert failure.code == -32002
    assert client.call("generate", **QUESTION)["text"]


def test_damaged_model_leaves_the_process_serving(client, tmp_path):
    for file in MODEL.iterdir():
        data = file.read_bytes()
        cut = data[: len(data) // 2] if file.suffix == ".safetensors" else data
        (tmp_path / file.name).write_bytes(cut)
    failure = client.refusal("load_model", model=str(tmp_path), name="damaged")
    assert failure.code == -32002
    assert [m["name"] for m in client.call("list_models")["models"]] == ["tiny"]
    assert client.call("generate", **QUESTION)["text"]


def test_damaged_tokenizer_is_a_model_that_cannot_be_loaded(client, tmp_path):
    for file in MODEL.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer.json").write_text("{}")
    assert client.refusal("load_model", model=str(tmp_path)).code == -32002


def test_load_beyond_the_memory_limit_is_out_of_memory(client):
    failure = client.refusal(
        "load_model", model="tiny", name="big", config={"memory": {"limit_mb": 1}}
    )
    assert failure.code == -32003
    assert failure.data["kind"] == "out_of_memory"


def test_load_with_a_wrong_setting_is_refused(client):
    failure = client.refusal(
        "load_model", model="tiny", name="x", config={"engine": {"thread": 2, "ctx_size": -1}}
    )
    assert failure.code == -32007
    assert len(failure.data["problems"]) == 2
    assert "did you mean threads" in failure.data["problems"][1]
    failure = client.refusal(
        "load_model", model="tiny", name="x", config={"engine": {"ctx_size": 1000000}}
    )
    assert failure.code == -32007


def test_unload_model_frees_the_name(start_client):
    client = start_client()
    client.call("load_model", model="tiny")
    assert client.call("unload_model") == {"name": "tiny", "drained": True}
    assert client.call("list_models") == {"models": []}
    failure = client.refusal("generate", **QUESTION)
    assert (failure.code, failure.data["loaded"]) == (-32001, [])
    assert client.refusal("unload_model").code == -32001
    client.call("load_model", model="tiny")
    assert "42" in client.call("generate", **QUESTION)["text"]


def test_unknown_model_names_the_loaded_ones(client):
    for method, params in {
        "generate": QUESTION,
        "tokenize": {"text": "x"},
        "detokenize": {"tokens": [1]},
        "get_statistics": {},
        "unload_model": {},
    }.items():
        failure = client.refusal(method, model="other", **params)
        assert failure.code == -32001, method
        assert failure.data == {"kind": "model_not_loaded", "loaded": ["tiny"]}


def test_tokenize_and_detokenize_are_inverse(client):
    text = "Once upon a time: naïve 🙂 <|im_start|>"
    tokens = client.call("tokenize", text=text)
    assert tokens["count"] == len(tokens["tokens"])
    ids = tokens["tokens"]
    assert client.call("detokenize", tokens=ids, skip_special_tokens=False)["text"] == text
    assert "<|im_start|>" not in client.call("detokenize", tokens=ids)["text"]
    assert client.call("detokenize", tokens=[]) == {"text": ""}


def test_tokenize_renders_messages_as_generate_does(client):
    tokens = client.call("tokenize", messages=QUESTION["messages"])["tokens"]
    answer = client.call("generate", **QUESTION)
    assert answer["usage"]["prompt_tokens"] == len(tokens)
    same = client.call("generate", prompt_tokens=tokens, max_tokens=16, temperature=0)
    assert same["tokens"] == answer["tokens"]


def test_statistics_count_what_was_done_until_reset(client):
    client.call("get_statistics", reset=True)
    client.call("generate", **QUESTION)
    statistics = client.call("get_statistics", reset=True)
    assert statistics["model"] == "tiny"
    assert statistics["engine"]["finished_total"]["stop"] == 1
    assert statistics["command_buffer_ring"]["enabled"]
    assert statistics["command_buffer_ring"]["total_acquisitions"] > 0
    assert len(statistics["status"]) == 6
    assert client.call("get_statistics")["engine"]["finished_total"]["stop"] == 0


def test_get_config_tells_values_and_origins(start_client):
    client = start_client("--set", "engine.parallel=3", "--set", "server.api_key=secret-word")
    everything = client.call("get_config")
    assert everything["config"]["engine"]["parallel"] == 3
    assert everything["origins"]["engine.parallel"] == "--set"
    assert everything["origins"]["memory.limit_mb"] != "--set"
    assert "api_key" not in everything["config"]["server"]
    assert "secret-word" not in json.dumps(everything)
    part = client.call("get_config", path="metal_optimizations.memory_pool")
    pool = part["config"]["metal_optimizations"]["memory_pool"]
    assert pool["warmup_sizes"] == [32, 128, 512]
    assert list(part["config"]) == ["metal_optimizations"]
    assert "enabled" not in part["config"]["metal_optimizations"]


def test_get_config_of_an_unknown_path_gives_a_hint(client):
    failure = client.refusal("get_config", path="engine.thread")
    assert (failure.code, failure.data["param"]) == (-32602, "path")
    assert "did you mean threads" in failure.message


def test_set_config_changes_what_the_next_model_gets(start_client):
    client = start_client()
    done = client.call(
        "set_config", values={"engine": {"ctx_size": 128}, "server.drain_timeout_s": 5}
    )
    assert done["effective"] == {
        "engine.ctx_size": "next load_model",
        "server.drain_timeout_s": "now",
    }
    assert sorted(done["changed"]) == sorted(done["effective"])
    assert client.call("get_config", path="engine.ctx_size")["origins"] == {
        "engine.ctx_size": "set_config"
    }
    assert client.call("load_model", model="tiny")["model"]["context_length"] == 128
    assert client.call("set_config", values={"engine.ctx_size": 128})["changed"] == []


def test_set_config_is_all_or_nothing(client):
    before = client.call("get_config")
    failure = client.refusal(
        "set_config",
        values={
            "engine": {"parallel": 2, "threads": "many"},
            "memory.limit_mb": 1.5,
            "logging": 3,
            "server": {"prot": 1},
            "metal_optimizations": {"memory_pool": {"warmup_sizes": [1, "x"]}},
        },
    )
    assert failure.code == -32007
    assert failure.data["kind"] == "config_refused"
    assert len(failure.data["problems"]) == 5
    assert "did you mean port" in failure.message
    assert client.call("get_config") == before


def test_set_config_never_tells_a_secret(client):
    failure = client.refusal("set_config", values={"server.api_key": ["secret-word"]})
    assert "secret-word" not in json.dumps(failure.data) + failure.message


def test_health_tells_idle_ok_and_versions(start_client):
    client = start_client()
    empty = client.call("health")
    assert (empty["status"], empty["models"]) == ("idle", [])
    assert empty["pid"] == client.process.pid
    client.call("load_model", model="tiny")
    loaded = client.call("health")
    assert loaded["status"] == "ok"
    assert loaded["models"] == [{"name": "tiny", "status": "ok", "detail": ""}]
    assert loaded["uptime_s"] >= empty["uptime_s"]


def test_log_goes_to_stderr_alone(start_client):
    client = start_client("--log-level", "debug", "-m", "tiny")
    progress = client.other()
    assert (progress["method"], progress["params"]["request"]) == ("load_progress", None)
    wait_until(lambda: client.call("health")["status"] == "ok")
    client.call("shutdown")
    assert client.wait_exit() == 0
    assert b"[engine.create]" in b"".join(client.log)


def test_wrong_model_at_the_start_is_the_end(start_client):
    client = start_client("-m", "no/such/directory")
    assert client.wait_exit() == 1
    assert b"no/such/directory" in b"".join(client.log)


WRONG = {
    "load_model": [
        ({}, "model"),
        ({"model": 1}, "model"),
        ({"model": ""}, "model"),
        ({"model": "tiny", "name": 3}, "name"),
        ({"model": "tiny", "config": []}, "config"),
        ({"model": "tiny", "modle": "x"}, "modle"),
    ],
    "unload_model": [({"model": 1}, "model"), ({"force": 1}, "force")],
    "list_models": [({"model": "tiny"}, "model")],
    "generate": [
        ({}, "prompt"),
        ({"prompt": "a", "messages": []}, "prompt"),
        ({"prompt": 1}, "prompt"),
        ({"prompt": ["a"]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt_tokens": "a"}, "prompt_tokens"),
        ({"prompt_tokens": []}, "prompt_tokens"),
        ({"prompt_tokens": [1.5]}, "prompt_tokens"),
        ({"prompt_tokens": [-1]}, "prompt_tokens"),
        ({"prompt_tokens": [10**9]}, "prompt_tokens"),
        ({"messages": "a"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"prompt": "a", "chat_template_kwargs": {}}, "chat_template_kwargs"),
        ({"prompt": "a", "temperature": 3}, "temperature"),
        ({"prompt": "a", "temperature": "hot"}, "temperature"),
        ({"prompt": "a", "top_p": 0}, "top_p"),
        ({"prompt": "a", "top_k": 1.5}, "top_k"),
        ({"prompt": "a", "min_p": 1}, "min_p"),
        ({"prompt": "a", "repetition_penalty": 0}, "repetition_penalty"),
        ({"prompt": "a", "presence_penalty": 3}, "presence_penalty"),
        ({"prompt": "a", "frequency_penalty": -3}, "frequency_penalty"),
        ({"prompt": "a", "seed": "x"}, "seed"),
        ({"prompt": "a", "stop": [""]}, "stop[0]"),
        ({"prompt": "a", "stop_token_ids": ["x"]}, "stop_token_ids[0]"),
        ({"prompt": "a", "logit_bias": {"x": 1}}, "logit_bias"),
        ({"prompt": "a", "logit_bias": {"999999999": 1}}, "logit_bias"),
        ({"prompt": "a", "ignore_eos": "yes"}, "ignore_eos"),
        ({"prompt": "a", "stream": "yes"}, "stream"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "max_tokens": 10**6}, "prompt"),
        ({"prompt": "a", "temprature": 0}, "temprature"),
        ({"prompt": "a", "n": 2}, "n"),
    ],
    "cancel": [({}, "request"), ({"request": 1.5}, "request"), ({"request": [1]}, "request")],
    "tokenize": [
        ({}, "text"),
        ({"text": 1}, "text"),
        ({"text": "a", "messages": []}, "text"),
        ({"text": "a", "add_special_tokens": 1}, "add_special_tokens"),
    ],
    "detokenize": [({}, "tokens"), ({"tokens": "a"}, "tokens"), ({"tokens": [-1]}, "tokens")],
    "get_statistics": [({"reset": "yes"}, "reset"), ({"rest": True}, "rest")],
    "get_config": [({"path": 1}, "path"), ({"paht": "engine"}, "paht")],
    "set_config": [({}, "values"), ({"values": []}, "values")],
    "health": [({"verbose": True}, "verbose")],
    "shutdown": [({"drain_timeout_s": -1}, "drain_timeout_s"), ({"force": True}, "force")],
}


@pytest.mark.parametrize("method", sorted(WRONG))
def test_wrong_parameters_are_refused_by_name(client, method):
    for params, param in WRONG[method]:
        failure = client.refusal(method, **params)
        assert failure.code == -32602, (method, params, failure)
        assert failure.data["kind"] == "invalid_params"
        assert failure.data["param"] == param, (method, params, failure)
    assert client.call("health")["status"] == "ok"


def test_every_method_of_the_schema_has_wrong_parameters_here():
    names = {name.removesuffix(".result") for name in SCHEMA["$defs"] if name.endswith(".result")}
    assert set(WRONG) == names


def test_unknown_parameter_gets_the_nearest_name(client):
    assert "did you mean temperature" in client.refusal("generate", temprature=0).message
    assert "did you mean model" in client.refusal("load_model", modle="tiny").message


def test_documented_methods_are_the_real_ones(client):
    methods = client.refusal("no_such_method").data["methods"]
    assert set(methods) == set(WRONG)
    text = (ROOT / "docs/JSON_RPC.md").read_text(encoding="utf-8")
    for method in methods:
        assert f"### {method}" in text
    assert "did you mean generate" in client.refusal("genrate").message
