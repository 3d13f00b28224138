"""The Qwen2 decoder of models/tiny in torch, for training; parameters carry Hugging Face names."""

import torch
import torch.nn.functional as F
from torch import nn

from quant import fake_quantize

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 1536,
    "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 8,
    "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
    "max_position_embeddings": 2048, "rope_theta": 10000.0, "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True, "attention_dropout": 0.0, "use_sliding_window": False,
    "initializer_range": 0.02, "torch_dtype": "bfloat16", "use_cache": True}


class Linear(nn.Linear):
    """A linear layer that can act as if its weight were already quantized."""

    def forward(self, x, quantized):
        return F.linear(x, fake_quantize(self.weight) if quantized else self.weight, self.bias)


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rope_tables(length, head_dim, theta, device):
    inverse = theta ** (-torch.arange(0, head_dim, 2, device=device).float() / head_dim)
    angles = torch.outer(torch.arange(length, device=device).float(), inverse)
    angles = torch.cat((angles, angles), -1)
    return angles.cos(), angles.sin()


def _rotate(x, cos, sin):
    low, high = x.chunk(2, -1)
    return (x * cos + torch.cat((-high, low), -1) * sin).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        size = c["hidden_size"]
        self.head_dim = size // self.heads
        self.q_proj = Linear(size, self.heads * self.head_dim)
        self.k_proj = Linear(size, self.kv_heads * self.head_dim)
        self.v_proj = Linear(size, self.kv_heads * self.head_dim)
        self.o_proj = Linear(self.heads * self.head_dim, size, bias=False)

    def forward(self, x, cos, sin, quantized):
        batch, length, _ = x.shape
        q = self.q_proj(x, quantized).view(batch, length, self.heads, -1).transpose(1, 2)
        k = self.k_proj(x, quantized).view(batch, length, self.kv_heads, -1).transpose(1, 2)
        v = self.v_proj(x, quantized).view(batch, length, self.kv_heads, -1).transpose(1, 2)
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        repeat = self.heads // self.kv_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(out.transpose(1, 2).reshape(batch, length, -1), quantized)


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.up_proj = Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.down_proj = Linear(c["intermediate_size"], c["hidden_size"], bias=False)

    def forward(self, x, quantized):
        hidden = F.silu(self.gate_proj(x, quantized)) * self.up_proj(x, quantized)
        return self.down_proj(hidden, quantized)


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn, self.mlp = Attention(c), MLP(c)
        self.input_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.post_attention_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])

    def forward(self, x, cos, sin, quantized):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, quantized)
        return x + self.mlp(self.post_attention_layernorm(x), quantized)


def head_loss(hidden, table, targets, weights):
    """Sum of weighted cross entropy; hidden [rows, length, size] predicts targets [rows, length]."""
    logits = F.linear(hidden, table).float()
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return (losses * weights.flatten()).sum()


class Qwen2(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.model = nn.ModuleDict({
            "embed_tokens": nn.Embedding(config["vocab_size"], config["hidden_size"]),
            "layers": nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"])),
            "norm": RMSNorm(config["hidden_size"], config["rms_norm_eps"])})
        self._initialize()

    def _initialize(self):
        depth = 2 * self.config["num_hidden_layers"]
        for name, p in self.named_parameters():
            if p.ndim == 2:
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, std=0.02 / depth ** 0.5 if last else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def table(self, quantized):
        """The embedding matrix, which is also the output matrix."""
        weight = self.model["embed_tokens"].weight
        return fake_quantize(weight) if quantized else weight

    def hidden(self, ids, table, quantized, layer_call=lambda layer, *a: layer(*a)):
        x = F.embedding(ids, table)
        size = self.config["hidden_size"] // self.config["num_attention_heads"]
        cos, sin = rope_tables(ids.shape[1], size, self.config["rope_theta"], ids.device)
        for layer in self.model["layers"]:
            x = layer_call(layer, x, cos, sin, quantized)
        return self.model["norm"](x)
