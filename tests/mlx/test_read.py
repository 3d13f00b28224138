"""krserve reads the directories that mlx-lm writes as they are, and refuses what it cannot read."""

import json

import numpy as np
import pytest
from support import (
    VOCAB,
    Reference,
    convert_by_mlx,
    first_difference,
    generate,
    krserve,
    lead,
    read_json,
)

# Greedy paths part where two tokens are this close in f32, as a fraction of the largest logit: twice
# what krserve's logits may be off (tests/support/tolerance.h).
NEAR_TIE = 1e-3
TOKENS = 24


def assert_same_tokens(model, folder, reference=None):
    """Greedy tokens of random prompts are those of mlx-lm in f32."""
    rng = np.random.default_rng(11)
    prompts = [rng.integers(0, VOCAB, count).tolist() for count in (1, 5, 33, 70)]
    replies = generate(model, [{"tokens": p, "max_tokens": TOKENS} for p in prompts], folder)
    reference = reference or Reference(model)
    agreeing = 0
    for prompt, reply in zip(prompts, replies):
        assert reply["prompt"] == prompt
        expected = reference.greedy(prompt, TOKENS)
        at = first_difference(reply["tokens"], expected)
        agreeing += at is None
        if at is not None:
            assert lead(reference, prompt, reply["tokens"], expected, at) < NEAR_TIE
    assert agreeing >= len(prompts) / 2


@pytest.mark.parametrize(
    "kind, bits, group_size",
    [
        ("qwen2", 4, 64),
        ("qwen2", 8, 128),
        ("qwen3", 4, 128),
        ("qwen3", 8, 32),
        ("llama", 4, 32),
        ("llama", 8, 64),
        ("uneven", 4, 64),
    ],
)
def test_same_tokens_as_mlx_lm(sources, tmp_path, kind, bits, group_size):
    model = convert_by_mlx(sources(kind), tmp_path / "model", bits, group_size)
    assert_same_tokens(model, tmp_path)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_scales_and_biases_of_other_dtypes(sources, tmp_path, dtype):
    assert_same_tokens(convert_by_mlx(sources("qwen3"), tmp_path / "model", dtype=dtype), tmp_path)


def test_parameters_of_single_modules(sources, tmp_path):
    def choose(path, _):
        if path == "lm_head":
            return {"group_size": 32, "bits": 8}
        if "layers.0.mlp" in path:
            return {"group_size": 128, "bits": 4, "mode": "affine"}
        return path != "model.embed_tokens"

    model = convert_by_mlx(sources("qwen3"), tmp_path / "model", 4, 64, quant_predicate=choose)
    assert "lm_head" in read_json(model / "config.json")["quantization"]
    assert_same_tokens(model, tmp_path)


def edited(model, **changes):
    """The model with other values in config.json."""
    path = model / "config.json"
    path.write_text(json.dumps(read_json(path) | changes))
    return model


def test_shapes_count_where_config_json_is_wrong_about_a_module(sources, tmp_path):
    model = convert_by_mlx(sources("qwen2"), tmp_path / "model", 8, 32)
    edited(model, quantization={"bits": 4, "group_size": 64})
    assert_same_tokens(model, tmp_path)


def test_quantization_config_alone_is_enough(sources, tmp_path):
    model = convert_by_mlx(sources("qwen2"), tmp_path / "model")
    reference = Reference(model)
    config = read_json(model / "config.json")
    del config["quantization"]
    (model / "config.json").write_text(json.dumps(config))
    assert_same_tokens(model, tmp_path, reference)


def test_shards_are_read_with_and_without_an_index(sources, tmp_path):
    model = convert_by_mlx(sources("qwen3"), tmp_path / "model", 8)
    krserve_shards = tmp_path / "shards"
    run = krserve(
        "convert", "-m", sources("qwen3"), "-o", krserve_shards, "--bits", "8", "--shard-mb", "1"
    )
    assert run.returncode == 0, run.stderr
    assert len(list(krserve_shards.glob("*.safetensors"))) >= 2
    reference = Reference(model)
    assert_same_tokens(krserve_shards, tmp_path, reference)
    (krserve_shards / "model.safetensors.index.json").unlink()
    assert_same_tokens(krserve_shards, tmp_path, reference)


def refusal(model):
    run = krserve("generate", "-m", model, "--tokens", "1", "--max-tokens", "1")
    assert run.returncode == 1, run.stdout + run.stderr
    return run.stderr


@pytest.mark.parametrize("bits", [2, 3, 5, 6])
def test_other_widths_are_refused_with_field_value_and_what_there_is(sources, tmp_path, bits):
    model = convert_by_mlx(sources("qwen2"), tmp_path / "model", bits, 64)
    message = refusal(model)
    assert f"config.json: quantization.bits is {bits}; expected 4 or 8" in message


@pytest.mark.parametrize("mode", ["mxfp4", "nvfp4", "mxfp8"])
def test_other_modes_are_refused_with_field_value_and_what_there_is(sources, tmp_path, mode):
    model = convert_by_mlx(sources("qwen2"), tmp_path / "model", None, None, q_mode=mode)
    message = refusal(model)
    assert f'quantization.mode is "{mode}"; expected "affine"' in message
    assert "4 or 8 bits in groups of 32, 64 or 128" in message


def test_a_module_of_another_width_is_refused_by_name(sources, tmp_path):
    model = convert_by_mlx(sources("qwen3"), tmp_path / "model", quant_predicate="mixed_4_6")
    message = refusal(model)
    assert "quantization.lm_head.bits is 6; expected 4 or 8" in message


def test_a_module_of_another_width_by_its_shapes_is_refused(sources, tmp_path):
    model = convert_by_mlx(sources("qwen2"), tmp_path / "model", 6, 64)
    edited(model, quantization={"bits": 4, "group_size": 64})
    message = refusal(model)
    assert "model.embed_tokens is quantized with 6 bit, group 64 by its shapes" in message
    assert "supported are 4 or 8 bits in groups of 32, 64 or 128" in message


def test_a_model_with_code_of_its_own_is_refused(sources, tmp_path):
    model = edited(convert_by_mlx(sources("qwen2"), tmp_path / "model"), model_file="model.py")
    assert 'model_file is "model.py"; expected none: krserve runs no code' in refusal(model)
