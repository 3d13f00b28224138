"""Writes tests/golden/data: small random models and what transformers computes with them.

Logits and greedy continuations are computed in f32 arithmetic on the weights as stored (16-bit
weights widened, quantized weights dequantized in f32). See README.md for the layout.
"""

import argparse
import json
import shutil
from pathlib import Path

import mlx.core as mx
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

VOCAB = 512
PROMPT_TOKENS = (32, 40)
GREEDY_TOKENS = 16
# Greedy paths must not hang on rounding: every step's best logit leads by at least this much.
MIN_GAP = 0.15
END_OF_TEXT, IM_START, IM_END = 256, 257, 258
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content']"
    " + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

COMMON = dict(
    hidden_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=128,
    vocab_size=VOCAB,
    max_position_embeddings=256,
    bos_token_id=None,
    pad_token_id=None,
    eos_token_id=IM_END,
)
QWEN2 = Qwen2Config(**COMMON, tie_word_embeddings=True, rms_norm_eps=1e-6,
                    rope_parameters={"rope_type": "default", "rope_theta": 1e6})
QWEN3 = Qwen3Config(**COMMON, head_dim=64, tie_word_embeddings=True, rms_norm_eps=1e-6,
                    rope_parameters={"rope_type": "default", "rope_theta": 1e6})
# The original context is short, so that all three branches of the scaling act within a prompt.
LLAMA3_ROPE = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
LLAMA = LlamaConfig(**COMMON, tie_word_embeddings=False, rms_norm_eps=1e-5,
                    rope_parameters=LLAMA3_ROPE)
LLAMA_BIAS = LlamaConfig(**{**COMMON, "hidden_size": 64, "num_key_value_heads": 4,
                            "intermediate_size": 128},
                         tie_word_embeddings=False, rms_norm_eps=1e-5, attention_bias=True,
                         rope_parameters={"rope_type": "linear", "rope_theta": 10000.0,
                                          "factor": 2.0})


def random_model(config, seed, dtype):
    """A model with weights that keep activations near 1 and logits a few units apart."""
    generator = torch.Generator().manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name:
                parameter.copy_(1 + 0.2 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.5 * noise)
            elif "embed_tokens" in name or "lm_head" in name:
                parameter.copy_(noise * (3.0 / config.hidden_size**0.5))
            else:
                parameter.copy_(noise * (1.5 / parameter.shape[1] ** 0.5))
    model.generation_config.eos_token_id = IM_END
    return model.to(dtype)


@torch.no_grad()
def greedy(model, prompt):
    """The greedy continuation, and the least lead of a chosen token over the next best one."""
    ids, least = prompt, float("inf")
    for _ in range(GREEDY_TOKENS):
        top = model(ids[None]).logits[0, -1].topk(2)
        least = min(least, float(top.values[0] - top.values[1]))
        ids = torch.cat([ids, top.indices[:1]])
    return ids[len(prompt):], least


@torch.no_grad()
def golden(model):
    """Random prompts with clear greedy paths, and the logits at all their positions."""
    rng = np.random.default_rng(7)
    tensors = {}
    for index, count in enumerate(PROMPT_TOKENS):
        for _ in range(200):
            prompt = torch.from_numpy(rng.integers(0, VOCAB, count))
            continuation, gap = greedy(model, prompt)
            if gap >= MIN_GAP:
                break
        else:
            raise SystemExit(f"no prompt of {count} tokens has a gap of {MIN_GAP}")
        tensors[f"prompt{index}.input_ids"] = prompt.to(torch.int32)
        tensors[f"prompt{index}.logits"] = model(prompt[None]).logits[0].contiguous()
        tensors[f"prompt{index}.greedy_ids"] = continuation.to(torch.int32)
    assert all(t.isfinite().all() for t in tensors.values())
    return tensors


def load_f32(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32,
                                                attn_implementation="eager").eval()


def write_tokenizer(path):
    """Byte-level BPE without merges: one token per byte, then the ChatML specials."""
    alphabet = [char for _, char in sorted(byte_alphabet().items())]
    vocab = {char: index for index, char in enumerate(alphabet)}
    specials = {"<|endoftext|>": END_OF_TEXT, "<|im_start|>": IM_START, "<|im_end|>": IM_END}
    tokenizer = Tokenizer(models.BPE(vocab={**vocab, **specials}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in specials])
    assert tokenizer.encode("<|im_start|>Hé").ids == [IM_START, *"Hé".encode()]
    tokenizer.save(str(path / "tokenizer.json"))
    write_json(path / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>", "chat_template": CHAT_TEMPLATE})


def byte_alphabet():
    """GPT-2's printable stand-in for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{byte: chr(byte) for byte in printable},
            **{byte: chr(256 + index) for index, byte in enumerate(others)}}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_hf(path, config, dtype, **save_options):
    """Saves a random model in the layout of transformers, and its golden values."""
    shutil.rmtree(path, ignore_errors=True)
    random_model(config, 0, dtype).save_pretrained(path, **save_options)
    tensors = golden(load_f32(path))
    save_file(tensors, path / "logits.safetensors")
    write_tokenizer(path)
    print(f"{path.name}: logit deviation {tensors['prompt0.logits'].std():.2f}")


def to_mlx(tensor):
    """bf16 torch to bf16 mlx; the way over f32 is exact."""
    return mx.array(tensor.float().numpy()).astype(mx.bfloat16)


def quantize(source, bits, group_size, overrides):
    """mlx-lm's rule: every 2-D weight, unless its module's override says otherwise."""
    stored, widened = {}, {}
    for name, tensor in load_file(source / "model.safetensors").items():
        module = name.removesuffix(".weight")
        own = overrides.get(module, {"bits": bits, "group_size": group_size})
        if tensor.dim() != 2 or own is False:
            stored[name] = to_mlx(tensor)
            widened[name] = tensor.float()
            continue
        packed, scales, biases = mx.quantize(to_mlx(tensor), **own)
        stored |= {name: packed, module + ".scales": scales, module + ".biases": biases}
        restored = mx.dequantize(packed, scales.astype(mx.float32), biases.astype(mx.float32),
                                 **own)
        widened[name] = torch.from_numpy(np.array(restored))
    return stored, widened


def write_mlx(path, source, bits, group_size, overrides=None, dequantized_to=None):
    """An MLX directory made from the bf16 model in `source`."""
    overrides = overrides or {}
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    stored, widened = quantize(source, bits, group_size, overrides)
    mx.save_safetensors(str(path / "model.safetensors"), stored, metadata={"format": "mlx"})
    config = json.loads((source / "config.json").read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope if rope["rope_type"] != "default" else None
    config["torch_dtype"] = config.pop("dtype")
    config["quantization"] = {"group_size": group_size, "bits": bits, **overrides}
    config["quantization_config"] = config["quantization"]
    write_json(path / "config.json", config)
    model = load_f32(source)
    model.load_state_dict(widened, strict=not model.config.tie_word_embeddings)
    model.tie_weights()
    tensors = golden(model)
    save_file(tensors, path / "logits.safetensors")
    write_tokenizer(path)
    if dequantized_to is None:
        sample = ["model.embed_tokens.weight", *(f"{m}.weight" for m in overrides if overrides[m])]
        save_file({name: widened[name].contiguous() for name in sample},
                  path / "dequantized.safetensors")
    else:
        shutil.rmtree(dequantized_to, ignore_errors=True)
        model.save_pretrained(dequantized_to, max_shard_size="400KB")
        save_file(tensors, dequantized_to / "logits.safetensors")
        write_tokenizer(dequantized_to)
    print(f"{path.name}: logit deviation {tensors['prompt0.logits'].std():.2f}")


def write_rope(path, config):
    """Rotary tables of transformers at a few positions."""
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "config.json", config.to_dict())
    rotary = LlamaRotaryEmbedding(config)
    positions = torch.tensor([0, 1, 2, 7, 31, 100, 511, 1000])
    cos, sin = rotary(torch.zeros(1, dtype=torch.float32), positions[None])
    half = cos.shape[-1] // 2
    save_file({"inv_freq": rotary.inv_freq.clone(), "positions": positions.to(torch.int32),
               "cos": cos[0, :, :half].contiguous(), "sin": sin[0, :, :half].contiguous()},
              path / "rope.safetensors")


def rope_config(heads, hidden, rope_parameters):
    return LlamaConfig(**{**COMMON, "hidden_size": hidden, "num_attention_heads": heads,
                          "max_position_embeddings": 131072}, rope_parameters=rope_parameters)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="tests/golden/data")
    out = parser.parse_args().out
    torch.manual_seed(0)
    torch.set_num_threads(1)
    mx.set_default_device(mx.cpu)
    write_hf(out / "qwen2-bf16", QWEN2, torch.bfloat16)
    write_hf(out / "qwen3-bf16", QWEN3, torch.bfloat16)
    write_hf(out / "llama-bf16", LLAMA, torch.bfloat16)
    write_hf(out / "llama-f16-sharded", LLAMA_BIAS, torch.float16, max_shard_size="100KB")
    write_mlx(out / "qwen2-q4-g64", out / "qwen2-bf16", 4, 64,
              dequantized_to=out / "qwen2-q4-g64-dequantized-f32-sharded")
    write_mlx(out / "llama-q4-g32", out / "llama-bf16", 4, 32)
    write_mlx(out / "qwen3-q8-g64-mixed", out / "qwen3-bf16", 8, 64,
              overrides={"model.layers.0.mlp.down_proj": False,
                         "model.layers.1.self_attn.q_proj": {"bits": 4, "group_size": 32}})
    write_rope(out / "rope" / "default",
               rope_config(14, 896, {"rope_type": "default", "rope_theta": 1e6}))
    write_rope(out / "rope" / "llama3", rope_config(
        32, 2048, {"rope_type": "llama3", "rope_theta": 5e5, "factor": 32.0,
                   "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                   "original_max_position_embeddings": 8192}))
    write_rope(out / "rope" / "linear", rope_config(
        4, 512, {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}))


if __name__ == "__main__":
    main()
