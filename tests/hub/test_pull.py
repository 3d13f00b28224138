"""What is downloaded, where it goes, and what is said when it cannot be had."""

import hashlib
import json

from conftest import TINY
from fake_hub import checksum

WEIGHTS = "model.safetensors"
NEEDED = {
    "config.json",
    "generation_config.json",
    WEIGHTS,
    "tokenizer.json",
    "tokenizer_config.json",
}


def test_only_what_a_model_needs_comes_in_the_layout_of_the_cache(hub, krserve):
    snapshot = krserve.pull()
    commit = hub.models["owner/tiny"].commit
    assert snapshot == krserve.model() / "snapshots" / commit
    assert {path.name for path in snapshot.iterdir()} == NEEDED
    assert (krserve.model() / "refs/main").read_text() == commit
    for path in snapshot.iterdir():
        blob = checksum(path.name, (TINY / path.name).read_bytes())
        assert path.readlink().as_posix() == f"../../blobs/{blob}"
        assert path.read_bytes() == (TINY / path.name).read_bytes()
    assert len(krserve.blobs()) == len(NEEDED)


def test_an_id_is_a_model_argument(hub, krserve):
    question = ("--chat", "What is 17 + 25?", "--temperature", "0", "--json")
    status, output, errors = krserve.run("generate", "-m", "owner/tiny", *question)
    assert status == 0, errors
    answer = json.loads(output)
    assert "42" in answer["text"]
    assert answer["model"] == "owner/tiny"


def test_what_is_there_is_not_fetched_again(hub, krserve):
    first = krserve.pull()
    hub.requests.clear()
    assert krserve.pull() == first
    assert not hub.asked("/resolve/") and len(hub.asked("/api/models/")) == 1


def test_a_commit_that_is_there_asks_nobody(hub, krserve):
    first = krserve.pull()
    hub.requests.clear()
    assert krserve.pull(f"owner/tiny@{first.name}") == first
    assert not hub.requests


def test_a_new_commit_reuses_what_did_not_change(hub, krserve, tiny_files):
    old = krserve.pull()
    hub.add("owner/tiny", tiny_files | {"config.json": tiny_files["config.json"] + b"\n"})
    hub.requests.clear()
    new = krserve.pull()
    assert new != old and old.is_dir()
    assert len(hub.asked("/resolve/")) == 1
    assert (krserve.model() / "refs/main").read_text() == new.name


def test_shards_are_those_that_the_index_names(hub, krserve, tiny_files):
    files = dict(tiny_files)
    shard = "model-00001-of-00001.safetensors"
    files[shard] = files.pop(WEIGHTS)
    header = int.from_bytes(files[shard][:8], "little")
    tensors = [name for name in json.loads(files[shard][8 : 8 + header]) if name != "__metadata__"]
    index = {"metadata": {}, "weight_map": dict.fromkeys(tensors, shard)}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    files["consolidated.safetensors"] = b"the same again in another form"
    hub.add("owner/sharded", files)
    snapshot = krserve.pull("owner/sharded")
    names = {path.name for path in snapshot.iterdir()}
    assert names == NEEDED - {WEIGHTS} | {shard, "model.safetensors.index.json"}
    status, output, errors = krserve.run(
        "generate", "-m", "owner/sharded", "--chat", "What is 17 + 25?", "--temperature", "0"
    )
    assert status == 0 and "42" in output, errors


def test_an_index_that_points_outside_is_refused(hub, krserve, tiny_files):
    files = {name: tiny_files[name] for name in ("config.json", "tokenizer.json")}
    files["model.safetensors.index.json"] = b'{"weight_map": {"a": "../../../x.safetensors"}}'
    hub.add("owner/tiny", files)
    assert "outside the model's folder" in krserve.refuse("pull", "owner/tiny")


def test_a_mirror_without_checksums_in_its_list_is_asked_for_each_file(hub, krserve):
    hub.lists_checksums = False
    snapshot = krserve.pull()
    assert (snapshot / WEIGHTS).read_bytes() == (TINY / WEIGHTS).read_bytes()
    assert len(hub.asked("/resolve/", "HEAD")) == len(NEEDED)


def test_a_renamed_model_is_followed(hub, krserve):
    hub.renamed["old/name"] = "owner/tiny"
    snapshot = krserve.pull("old/name")
    assert snapshot.parent.parent.name == "models--old--name"
    assert {path.name for path in snapshot.iterdir()} == NEEDED


def test_a_gated_model_without_a_token_names_hf_token(hub, krserve):
    hub.models["owner/tiny"].token = "secret"
    errors = krserve.refuse("pull", "owner/tiny")
    assert "HTTP 401" in errors and "HF_TOKEN" in errors and "restricted" in errors


def test_a_token_goes_to_the_hub_and_to_nobody_else(hub, krserve):
    hub.models["owner/tiny"].token = "secret"
    krserve.pull(HF_TOKEN="secret")
    asked = hub.asked("/api/") + hub.asked("/resolve/")
    assert all(headers["authorization"] == "Bearer secret" for headers in asked)
    assert hub.asked("/cdn/") and not any("authorization" in h for h in hub.asked("/cdn/"))


def test_the_stored_token_is_used(hub, krserve):
    hub.models["owner/tiny"].token = "secret"
    krserve.cache.parent.mkdir(parents=True)
    (krserve.cache.parent / "token").write_text("secret\n")
    krserve.pull()


def test_a_refused_token_is_said(hub, krserve):
    hub.models["owner/tiny"].token = "secret"
    errors = krserve.refuse("pull", "owner/tiny", HF_TOKEN="wrong")
    assert "HTTP 403" in errors and "accept the model's conditions" in errors
    assert "wrong" not in errors


def test_a_model_that_does_not_exist_is_named(hub, krserve):
    errors = krserve.refuse("generate", "-m", "owner/nothing", "--prompt", "x")
    assert "owner/nothing@main is not at" in errors and "check the spelling" in errors
    assert not krserve.model("models--owner--nothing").exists()


def test_a_revision_that_does_not_exist_is_named(hub, krserve):
    errors = krserve.refuse("pull", "owner/tiny@v9")
    assert "has the model, but not this revision" in errors


def test_a_model_without_safetensors_says_what_it_has(hub, krserve, tiny_files):
    hub.add("owner/other", {"config.json": tiny_files["config.json"], "x.gguf": b"GGUF"})
    errors = krserve.refuse("pull", "owner/other")
    assert "no weights as safetensors (it has x.gguf)" in errors


def test_too_little_space_is_said_before_anything_large_is_fetched(hub, krserve):
    hub.models["owner/tiny"].sizes[WEIGHTS] = 10**17
    errors = krserve.refuse("pull", "owner/tiny")
    assert "needs 100000000.00 GB more" in errors and "HF_HUB_CACHE" in errors
    assert not hub.asked("/cdn/")


def test_a_cache_that_cannot_be_made_is_named(hub, krserve):
    (krserve.folder / "file").write_text("")
    errors = krserve.refuse("pull", "owner/tiny", HF_HUB_CACHE=str(krserve.folder / "file/hub"))
    assert "cannot be written" in errors and "file/hub" in errors


def test_offline_uses_what_is_there_and_asks_nobody(hub, krserve):
    first = krserve.pull()
    hub.requests.clear()
    assert krserve.pull(HF_HUB_OFFLINE="1") == first
    assert not hub.requests


def test_offline_without_the_model_says_what_to_do(hub, krserve):
    errors = krserve.refuse("pull", "owner/tiny", HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set; unset it, or run krserve pull owner/tiny" in errors
    assert not hub.requests


def test_offline_with_a_part_of_the_model_is_no_model(hub, krserve):
    snapshot = krserve.pull()
    (snapshot / WEIGHTS).resolve().unlink()
    assert "not wholly" in krserve.refuse("pull", "owner/tiny", HF_HUB_OFFLINE="1")


def test_a_hub_that_cannot_be_reached_leaves_what_is_there(hub, krserve):
    first = krserve.pull()
    hub.close()
    status, output, errors = krserve.run("pull", "owner/tiny")
    assert (status, output.strip()) == (0, str(first))
    assert "cannot be reached" in errors and "using the snapshot" in errors


def test_what_is_no_id_is_a_usage_error(hub, krserve):
    for model in ("./owner/tiny", "tiny", "/owner/tiny"):
        status, _, errors = krserve.run("pull", model)
        assert status == 2 and "is no Hugging Face id" in errors


def test_tiny_needs_no_hub(hub, krserve):
    status, output, errors = krserve.run(
        "generate", "-m", "tiny", "--chat", "What is 17 + 25?", "--temperature", "0"
    )
    assert status == 0 and "42" in output, errors
    assert not hub.requests


def test_the_blob_is_what_its_name_says(hub, krserve):
    krserve.pull()
    for name in krserve.blobs():
        content = (krserve.model() / "blobs" / name).read_bytes()
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        assert name in (hashlib.sha256(content).hexdigest(), git)
