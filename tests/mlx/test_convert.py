"""krserve convert writes what mlx_lm.convert -q writes, and fails without leaving anything."""

import json
import resource
import subprocess
import sys

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm import utils
from support import (
    BINARY,
    COMMON,
    CONFIGS,
    assert_same_model,
    convert,
    convert_by_mlx,
    krserve,
    random_weights,
    read_header,
    read_json,
    write_model,
)

FORMATS = [(4, 32), (4, 64), (4, 128), (8, 32), (8, 64), (8, 128)]


@pytest.mark.parametrize("bits, group_size", FORMATS)
@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama"])
def test_equals_mlx_lm_bit_for_bit(sources, tmp_path, kind, bits, group_size):
    convert(sources(kind), tmp_path / "ours", bits, group_size)
    convert_by_mlx(sources(kind), tmp_path / "theirs", bits, group_size)
    assert_same_model(tmp_path / "ours", tmp_path / "theirs")


@pytest.mark.parametrize("stored", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("declared", ["bfloat16", "float16", "float32", None])
def test_casts_to_the_declared_dtype_first_as_mlx_lm_does(tmp_path, stored, declared):
    config = CONFIGS["qwen2"] | {"torch_dtype": declared}
    if declared is None:
        del config["torch_dtype"]
    source = write_model(tmp_path / "source", config, random_weights(config, 3), stored)
    convert(source, tmp_path / "ours")
    convert_by_mlx(source, tmp_path / "theirs")
    assert_same_model(tmp_path / "ours", tmp_path / "theirs")


def test_dtype_of_the_command_line_wins(sources, tmp_path):
    convert(sources("llama"), tmp_path / "ours", 4, 64, "--dtype", "float16")
    convert_by_mlx(sources("llama"), tmp_path / "theirs", dtype="float16")
    assert_same_model(tmp_path / "ours", tmp_path / "theirs")


def hard_rows(count, columns):
    """Rows on which a quantizer that only looks right goes wrong."""
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((count, columns), dtype=np.float32)
    rows *= rng.choice([1e-30, 1e-7, 1e-3, 1, 1e4], (count, 1)).astype(np.float32)
    rows[0] = 0
    rows[1] = -0.0
    rows[2], rows[3] = 3.5, -2.25  # one value
    rows[4], rows[5] = abs(rows[4]), -abs(rows[5])  # one sign
    rows[6] = np.round(rows[6] * 8) / 8  # many exact ties
    rows[7] = np.where(np.arange(columns) % 2, 1, -1)  # both edges alike
    rows[8], rows[8, ::32] = 0, 1e30  # one outlier in each group
    rows[9] = np.arange(columns) % 16  # 4 bit without loss
    rows[10] = np.arange(columns) % 256 - 128  # 8 bit
    rows[11] = 5e-8 * np.sign(rows[11])  # below the least scale
    rows[12] = 1e-40  # subnormal
    rows[13] = np.linspace(-1, 1, columns)
    return rows


@pytest.mark.parametrize("bits, group_size", FORMATS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_hard_rows_are_quantized_as_mlx_does(tmp_path, dtype, bits, group_size):
    config = CONFIGS["qwen2"] | {"num_hidden_layers": 1, "torch_dtype": dtype, "vocab_size": 2003}
    weights = random_weights(config)
    weights["model.embed_tokens.weight"] = rows = hard_rows(2003, 256)
    convert(
        write_model(tmp_path / "source", config, weights, dtype),
        tmp_path / "ours",
        bits,
        group_size,
    )
    _, tensors = read_header(tmp_path / "ours/model.safetensors")
    expected = mx.quantize(mx.array(rows).astype(getattr(mx, dtype)), group_size, bits)
    for name, array in zip(("weight", "scales", "biases"), expected):
        stored = array.view(mx.uint16) if array.dtype == mx.bfloat16 else array
        assert tensors[f"model.embed_tokens.{name}"][2] == np.array(stored).tobytes(), name


def test_large_models_get_the_shards_of_mlx_lm(tmp_path, monkeypatch):
    class Bytes(int):
        def __lshift__(self, _):
            return int(self)

    monkeypatch.setattr(utils.make_shards, "__defaults__", (Bytes(1 << 20),))
    config = CONFIGS["qwen3"] | {"num_hidden_layers": 5}
    source = write_model(tmp_path / "source", config, random_weights(config), files=2)
    convert(source, tmp_path / "ours", 8, 64, "--shard-mb", 1)
    convert_by_mlx(source, tmp_path / "theirs", 8, 64)
    assert len(list((tmp_path / "theirs").glob("*.safetensors"))) >= 4
    assert_same_model(tmp_path / "ours", tmp_path / "theirs")


def test_columns_that_do_not_fit_the_group_stay_plain_as_in_mlx_lm(sources, tmp_path):
    run = convert(sources("uneven"), tmp_path / "ours", 4, 64)
    convert_by_mlx(sources("uneven"), tmp_path / "theirs", 4, 64)
    assert_same_model(tmp_path / "ours", tmp_path / "theirs")
    _, tensors = read_header(tmp_path / "ours/model.safetensors")
    assert tensors["model.layers.1.mlp.down_proj.weight"][0] == "BF16"
    assert "2 matrices not quantized" in run.stderr
    assert "model.layers.0.mlp.down_proj" in run.stderr


def test_result_does_not_depend_on_the_threads(sources, tmp_path):
    for threads in (1, 5):
        convert(sources("qwen3"), tmp_path / str(threads), 4, 64, "--threads", threads)
    one, five = (tmp_path / n / "model.safetensors" for n in ("1", "5"))
    assert one.read_bytes() == five.read_bytes()


def test_copies_tokenizer_licence_and_generation_config(sources, tmp_path):
    source = sources("qwen2")
    convert(source, tmp_path / "ours")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "LICENSE"):
        assert (tmp_path / "ours" / name).read_bytes() == (source / name).read_bytes()
    assert not (tmp_path / "ours/README.md").exists()  # it describes another model


def test_head_that_nobody_declared_is_kept_and_declared(tmp_path):
    config = CONFIGS["llama"].copy()
    weights = random_weights(config)
    del config["tie_word_embeddings"]
    convert(write_model(tmp_path / "source", config, weights), tmp_path / "ours")
    assert read_json(tmp_path / "ours/config.json")["tie_word_embeddings"] is False
    _, tensors = read_header(tmp_path / "ours/model.safetensors")
    assert "lm_head.scales" in tensors


def test_tensors_without_use_are_left_out_and_named(tmp_path):
    config = CONFIGS["qwen2"]
    weights = random_weights(config)
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(32, np.float32)
    run = convert(write_model(tmp_path / "source", config, weights), tmp_path / "ours")
    convert_by_mlx(tmp_path / "source", tmp_path / "theirs")
    assert "rotary_emb.inv_freq" in run.stderr
    assert_same_model(tmp_path / "ours", tmp_path / "theirs")


def test_memory_does_not_grow_with_the_model(tmp_path):
    config = CONFIGS["qwen2"] | {"num_hidden_layers": 1, "vocab_size": 200_000}
    weights = random_weights(config | {"vocab_size": 8})
    weights["model.embed_tokens.weight"] = np.ones((200_000, 256), np.float32)
    source = write_model(tmp_path / "source", config, weights)
    # A process' peak starts at its parent's size: hence from a small one.
    peak = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    command = [BINARY, "convert", "-m", source, "-o", tmp_path / "ours", "--threads", "2"]
    run = subprocess.run(
        [sys.executable, "-c", peak, *command], check=True, capture_output=True, text=True
    )
    peak_mb = int(run.stdout) / (1 << 10 if sys.platform == "linux" else 1 << 20)
    assert (source / "model.safetensors").stat().st_size > 100e6
    assert peak_mb < 60, peak_mb


def refused(tmp_path, *arguments, code=1, target="ours", **options):
    """The message of a conversion that must fail and leave nothing behind."""
    before = sorted(tmp_path.iterdir())
    run = krserve("convert", "-m", *arguments, "-o", tmp_path / target, **options)
    assert run.returncode == code, run.stdout + run.stderr
    assert sorted(tmp_path.iterdir()) == before
    return run.stderr


def test_quantized_model_is_refused(sources, tmp_path):
    convert(sources("qwen2"), tmp_path / "first", 8, 32)
    message = refused(tmp_path, tmp_path / "first")
    assert "quantized already (8 bits, groups of 32)" in message


@pytest.mark.parametrize("method", ["awq", "gptq", "fp8", "compressed-tensors"])
def test_other_quantization_is_refused_by_name(tmp_path, method):
    config = CONFIGS["qwen2"] | {"quantization_config": {"quant_method": method, "bits": 4}}
    source = write_model(tmp_path / "source", config, random_weights(config))
    assert f'quant_method is "{method}"' in refused(tmp_path, source)


def test_unknown_architecture_is_refused_with_the_known_ones(tmp_path):
    config = CONFIGS["qwen2"] | {"model_type": "mamba"}
    source = write_model(tmp_path / "source", config, random_weights(CONFIGS["qwen2"]))
    message = refused(tmp_path, source)
    assert 'model_type is "mamba"' in message and "qwen2, qwen3, llama" in message


def test_dtype_that_is_no_float_is_refused(tmp_path):
    config = CONFIGS["qwen2"]
    source = write_model(tmp_path / "source", config, random_weights(config), "int8")
    assert "dtype I8, expected F32, F16 or BF16" in refused(tmp_path, source)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_value_that_is_not_finite_is_refused_by_name(tmp_path, value):
    config = CONFIGS["qwen2"]
    weights = random_weights(config)
    weights["model.layers.1.mlp.up_proj.weight"][3, 7] = value
    source = write_model(tmp_path / "source", config, weights)
    message = refused(tmp_path, source)
    assert "model.layers.1.mlp.up_proj.weight: element 775 " in message


def test_value_beyond_the_dtype_is_refused(tmp_path):
    config = CONFIGS["qwen2"]
    weights = random_weights(config)
    weights["model.norm.weight"][5] = 1e5
    source = write_model(tmp_path / "source", config, weights)
    message = refused(tmp_path, source, "--dtype", "float16")
    assert "model.norm.weight: element 5 of 256 is inf in F16" in message


def test_tensor_of_another_shape_is_refused(tmp_path):
    weights = random_weights(CONFIGS["qwen2"])
    config = CONFIGS["qwen2"] | {"intermediate_size": 512}
    source = write_model(tmp_path / "source", config, weights)
    assert "shape [384, 256], expected [512, 256]" in refused(tmp_path, source)


def test_group_that_fits_no_matrix_is_refused(tmp_path):
    config = CONFIGS["uneven"] | {"hidden_size": 96, "head_dim": 32}
    source = write_model(tmp_path / "source", config, random_weights(config))
    message = refused(tmp_path, source, "--group-size", "128")
    assert "none of 15 matrices has columns in multiples of the group size 128" in message


@pytest.mark.parametrize("flags", [["--bits", "3"], ["--bits", "6"], ["--group-size", "16"]])
def test_formats_that_krserve_does_not_have_are_refused(sources, tmp_path, flags):
    assert flags[0] in refused(tmp_path, sources("qwen2"), *flags, code=2)


def test_full_disk_leaves_nothing_behind(sources, tmp_path):
    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    # Python ignores SIGXFSZ, and so does the program: the write fails instead.
    message = refused(tmp_path, sources("qwen2"), preexec_fn=limit_files, restore_signals=False)
    assert "cannot write" in message and "free space" in message


def test_target_with_a_model_is_replaced_only_by_force(sources, tmp_path):
    convert(sources("qwen2"), tmp_path / "ours", 4)
    (tmp_path / "ours/stray.txt").write_text("of the old one")
    before = (tmp_path / "ours/config.json").read_text()
    assert "--force" in refused(tmp_path, sources("qwen2"), "--bits", "8", code=2)
    assert (tmp_path / "ours/config.json").read_text() == before
    convert(sources("qwen2"), tmp_path / "ours", 8, 64, "--force")
    assert read_json(tmp_path / "ours/config.json")["quantization"]["bits"] == 8
    assert not (tmp_path / "ours/stray.txt").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["ours"]


def test_force_replaces_nothing_but_a_model(sources, tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/thesis.txt").write_text("years of work")
    assert "no config.json" in refused(tmp_path, sources("qwen2"), "--force", code=2)
    assert (tmp_path / "ours/thesis.txt").exists()


def test_source_is_not_replaced(tmp_path):
    config = CONFIGS["qwen2"]
    source = write_model(tmp_path / "a/source", config, random_weights(config))
    for target in ("a/source", "a", "a/source/../source"):
        message = refused(tmp_path, source, "--force", code=2, target=target)
        assert "is the source, or holds it" in message
    assert (source / "model.safetensors").exists()


def test_config_without_what_the_model_needs_is_refused(tmp_path):
    source = write_model(tmp_path / "source", COMMON, random_weights(CONFIGS["qwen2"]))
    assert "model_type missing" in refused(tmp_path, source)
    (source / "config.json").write_text(json.dumps(CONFIGS["qwen2"])[:-1])
    assert "not valid JSON" in refused(tmp_path, source)
