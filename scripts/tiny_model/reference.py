"""A plain numpy Qwen2 for MLX 4-bit directories: the checker's own forward pass, in float32.

It needs numpy and tokenizers only, and shares no code with the trainer, so that it can stand as
the reference for other runtimes.
"""

import json
import pathlib

import numpy as np
from tokenizers import Tokenizer

_TYPES = {"U32": np.uint32, "BF16": np.uint16, "F16": np.float16, "F32": np.float32}


def read_safetensors(path):
    """All tensors of a file; bf16 becomes float32."""
    data = np.memmap(path, np.uint8, "r")
    size = int(np.frombuffer(data[:8].tobytes(), "<u8")[0])
    header = json.loads(data[8:8 + size].tobytes())
    header.pop("__metadata__", None)
    tensors = {}
    for name, info in header.items():
        begin, end = info["data_offsets"]
        raw = np.frombuffer(data[8 + size + begin:8 + size + end].tobytes(), _TYPES[info["dtype"]])
        if info["dtype"] == "BF16":
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = raw.reshape(info["shape"])
    return tensors


def dequantize(packed, scales, biases, bits, group_size):
    """weight = level * scale + bias; level i of a word sits at bits bits*i."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    levels = (packed[..., None] >> shifts) & np.uint32((1 << bits) - 1)
    groups = levels.reshape(packed.shape[0], -1, group_size).astype(np.float32)
    return (groups * scales[..., None] + biases[..., None]).reshape(packed.shape[0], -1)


def _silu(x):
    return x / (1 + np.exp(-x))


class Model:
    """Weights of a model directory, dequantized to float32."""

    def __init__(self, directory):
        directory = pathlib.Path(directory)
        self.config = json.loads((directory / "config.json").read_text())
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        generation = json.loads((directory / "generation_config.json").read_text())
        self.stop_ids = set(generation["eos_token_id"])
        tensors = read_safetensors(directory / "model.safetensors")
        scheme = self.config["quantization"]
        self.weights = {}
        for name, value in tensors.items():
            stem = name.removesuffix(".weight")
            if stem + ".scales" in tensors and name.endswith(".weight"):
                value = dequantize(value, tensors[stem + ".scales"], tensors[stem + ".biases"],
                                   scheme["bits"], scheme["group_size"]).T.copy()
            self.weights[name] = value
        self.table = self.weights["model.embed_tokens.weight"]  # [hidden, vocabulary]

    def _norm(self, x, name):
        scale = 1 / np.sqrt(np.mean(x * x, -1, keepdims=True) + self.config["rms_norm_eps"])
        return x * scale * self.weights[name + ".weight"]

    def _linear(self, x, name):
        y = x @ self.weights[name + ".weight"]
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias

    def _heads(self, x, name, heads):
        batch, length, _ = x.shape
        return self._linear(x, name).reshape(batch, length, heads, -1).transpose(0, 2, 1, 3)

    def _rotate(self, x, start):
        half = x.shape[-1] // 2
        inverse = self.config["rope_theta"] ** (-np.arange(half) / half)
        angles = np.outer(np.arange(start, start + x.shape[2]), inverse)
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        low, high = x[..., :half], x[..., half:]
        return np.concatenate((low * cos - high * sin, high * cos + low * sin), -1)

    def _attention(self, x, prefix, cache, start):
        c = self.config
        heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        q = self._rotate(self._heads(x, prefix + "q_proj", heads), start)
        k = self._rotate(self._heads(x, prefix + "k_proj", kv_heads), start)
        v = self._heads(x, prefix + "v_proj", kv_heads)
        if cache:
            k, v = np.concatenate((cache[0], k), 2), np.concatenate((cache[1], v), 2)
        cache[:] = [k, v]
        repeat = heads // kv_heads
        k, v = np.repeat(k, repeat, 1), np.repeat(v, repeat, 1)
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(np.float32(q.shape[-1]))
        future = np.triu(np.ones(scores.shape[-2:], bool), k.shape[2] - q.shape[2] + 1)
        scores = np.where(future, -np.inf, scores)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        out = (weights / weights.sum(-1, keepdims=True)) @ v
        batch, _, length, _ = out.shape
        return self._linear(out.transpose(0, 2, 1, 3).reshape(batch, length, -1), prefix + "o_proj")

    def forward(self, ids, caches):
        """Logits of the last position; ids [batch, length], caches one list per layer."""
        start = caches[0][0].shape[2] if caches[0] else 0
        x = self.table.T[ids]
        for i, cache in enumerate(caches):
            p = f"model.layers.{i}."
            x = x + self._attention(self._norm(x, p + "input_layernorm"), p + "self_attn.", cache, start)
            h = self._norm(x, p + "post_attention_layernorm")
            gate = _silu(self._linear(h, p + "mlp.gate_proj"))
            x = x + self._linear(gate * self._linear(h, p + "mlp.up_proj"), p + "mlp.down_proj")
        return self._norm(x[:, -1], "model.norm") @ self.table

    def generate(self, ids, max_tokens):
        """Greedy continuations of prompts of equal length: token lists, and whether each stopped."""
        ids = np.asarray(ids)
        caches = [[] for _ in range(self.config["num_hidden_layers"])]
        out, stopped = [[] for _ in ids], np.zeros(len(ids), bool)
        step = ids
        for _ in range(max_tokens):
            best = self.forward(step, caches).argmax(-1)
            for i, token in enumerate(best):
                if not stopped[i] and token not in self.stop_ids:
                    out[i].append(int(token))
                stopped[i] |= token in self.stop_ids
            if stopped.all():
                break
            step = best[:, None]
        return out, stopped.tolist()
