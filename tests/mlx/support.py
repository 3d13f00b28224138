"""Small random models, runs of krserve and mlx-lm, and the comparison of what they wrote."""

import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map
from mlx_lm.convert import convert as mlx_convert
from mlx_lm.generate import generate_step
from mlx_lm.utils import load_model

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("KRSERVE_BIN", ROOT / "build/release/bin/krserve"))
TOOL = BINARY.with_name("mlx_tool")
TOKENIZER = ROOT / "tests/golden/data/qwen2-bf16"
VOCAB = 515  # odd: no kernel's tile divides it

mx.set_default_device(mx.cpu)

COMMON = {
    "hidden_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 384,
    "vocab_size": VOCAB,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "eos_token_id": 258,
    "bos_token_id": None,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.56.0",
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
CONFIGS = {
    "qwen2": COMMON
    | {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "tie_word_embeddings": True,
        "_name_or_path": "somewhere/else",
    },
    # Heads wider than hidden_size / heads, a head of its own.
    "qwen3": COMMON
    | {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "tie_word_embeddings": False,
        "head_dim": 128,
    },
    "llama": COMMON
    | {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "tie_word_embeddings": False,
        "rope_scaling": LLAMA3_ROPE,
        "attention_bias": True,
    },
    # down_proj has 352 columns: groups of 64 do not fit, and mlx-lm leaves it as it is.
    "uneven": COMMON
    | {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "tie_word_embeddings": True,
        "hidden_size": 192,
        "intermediate_size": 352,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
    },
}


def shapes(config):
    """Every tensor of a model: name -> shape."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim", hidden // config["num_attention_heads"])
    q, kv = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    matrices = {
        "self_attn.q_proj": (q, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, q),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    biased = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]
    if config["model_type"] != "qwen2":
        biased = [*biased, "self_attn.o_proj"] if config.get("attention_bias") else []
    table = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        table |= {f"{prefix}{name}.weight": shape for name, shape in matrices.items()}
        table |= {f"{prefix}{name}.bias": matrices[name][:1] for name in biased}
        if config["model_type"] == "qwen3":
            table |= {f"{prefix}self_attn.{x}_norm.weight": (head,) for x in "qk"}
        for norm in ("input_layernorm", "post_attention_layernorm"):
            table[f"{prefix}{norm}.weight"] = (hidden,)
    table["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        table["lm_head.weight"] = (config["vocab_size"], hidden)
    return table


def random_weights(config, seed=0):
    """f32 arrays that keep activations near 1 and logits a few units apart."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes(config).items():
        noise = rng.standard_normal(shape, dtype=np.float32)
        if "norm" in name:
            weights[name] = 1 + 0.2 * noise
        elif name.endswith("bias"):
            weights[name] = 0.5 * noise
        elif "embed_tokens" in name or "lm_head" in name:
            weights[name] = noise * np.float32(3 / config["hidden_size"] ** 0.5)
        else:
            weights[name] = noise * np.float32(1.5 / shape[1] ** 0.5)
    return weights


def write_model(path, config, weights, dtype="bfloat16", files=1):
    """A directory in the layout of Hugging Face, in `files` shards."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config, indent=2))
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": [258, 256]}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, path)
    (path / "LICENSE").write_text("as you like\n")
    (path / "README.md").write_text("the source's card\n")
    arrays = {name: mx.array(w).astype(getattr(mx, dtype)) for name, w in weights.items()}
    if files == 1:
        mx.save_safetensors(str(path / "model.safetensors"), arrays, {"format": "pt"})
        return path
    weight_map = {}
    for i in range(files):
        shard = f"model-{i + 1:05d}-of-{files:05d}.safetensors"
        part = {name: arrays[name] for name in list(arrays)[i::files]}
        mx.save_safetensors(str(path / shard), part, {"format": "pt"})
        weight_map |= dict.fromkeys(part, shard)
    index = {"metadata": {}, "weight_map": weight_map}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return path


def krserve(*arguments, **options):
    """Runs the program; stdout and stderr are text."""
    command = [str(BINARY), *(str(a) for a in arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def convert(source, target, bits=4, group_size=64, *more):
    """Runs krserve convert, which must succeed."""
    run = krserve(
        "convert", "-m", source, "-o", target, "--bits", bits, "--group-size", group_size, *more
    )
    assert run.returncode == 0, run.stderr
    return run


def convert_by_mlx(source, target, bits=4, group_size=64, **options):
    mlx_convert(
        str(source), str(target), quantize=True, q_bits=bits, q_group_size=group_size, **options
    )
    return target


def read_header(path):
    """(metadata, {name: (dtype, shape, bytes)}) of a safetensors file."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", None)
    body = data[8 + length :]
    tensors = {
        name: (entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }
    return metadata, tensors


def read_json(path):
    return json.loads(path.read_text())


def assert_same_model(ours, theirs):
    """The same files of weights with the same tensors, bit for bit, the same index and config."""
    names = sorted(f.name for f in theirs.glob("*.safetensors"))
    assert sorted(f.name for f in ours.glob("*.safetensors")) == names
    for name in names:
        metadata, tensors = read_header(ours / name)
        expected_metadata, expected = read_header(theirs / name)
        assert metadata == expected_metadata
        assert sorted(tensors) == sorted(expected)
        differing = [key for key in expected if tensors[key] != expected[key]]
        assert not differing, [(key, tensors[key][:2], expected[key][:2]) for key in differing]
    for name in ("model.safetensors.index.json", "config.json"):
        assert read_json(ours / name) == read_json(theirs / name), name


class Reference:
    """A model in mlx-lm. `dtype`: what it computes in; None leaves it as mlx-lm loads it."""

    def __init__(self, path, dtype=mx.float32):
        self.model, self.config = load_model(Path(path))
        if dtype is not None:
            self.model.update(tree_map(lambda x: self._cast(x, dtype), self.model.parameters()))
        mx.eval(self.model.parameters())

    @staticmethod
    def _cast(array, dtype):
        return array.astype(dtype) if mx.issubdtype(array.dtype, mx.floating) else array

    def greedy(self, prompt, count):
        steps = generate_step(mx.array(prompt), self.model, max_tokens=count)
        return [int(token) for token, _ in steps]

    def logits(self, tokens):
        """Of the last position, as float64."""
        logits = self.model(mx.array([tokens]))[0, -1].astype(mx.float32)
        return np.array(logits, dtype=np.float64)


def generate(model, prompts, folder):
    """Greedy output of krserve, `[{"prompt": ids, "tokens": ids}]`, ends of text ignored.

    Prompts: {"tokens": ids or "messages": chat, "max_tokens": n}.
    """
    request, reply = folder / "prompts.json", folder / "tokens.json"
    request.write_text(json.dumps(prompts))
    run = subprocess.run(
        [TOOL, "generate", model, request, reply], capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr
    return read_json(reply)


def first_difference(ours, theirs):
    """Index of the first token that differs, or None."""
    assert len(ours) == len(theirs)
    return next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), None)


def lead(reference, prompt, ours, theirs, at):
    """How far apart the two candidates are in the reference, over its largest logit."""
    logits = reference.logits([*prompt, *theirs[:at]])
    return float(abs(logits[theirs[at]] - logits[ours[at]]) / np.abs(logits).max())
