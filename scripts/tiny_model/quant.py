"""MLX's affine quantization rule in torch: 4 bits, groups of 64 along the input dimension.

The rule is that of mlx.core.quantize for bf16 weights (checked bit for bit by check_mlx.py): the
edge of the range with the larger magnitude is representable exactly, so that zero falls on a level.
"""

import torch

BITS = 4
GROUP_SIZE = 64
_LEVELS = (1 << BITS) - 1


def _levels(weight):
    """Integer levels [out, groups, 64] as float, and scale and bias [out, groups, 1] in f32."""
    groups = weight.to(torch.bfloat16).float().unflatten(-1, (-1, GROUP_SIZE))
    high, low = groups.amax(-1, keepdim=True), groups.amin(-1, keepdim=True)
    from_low = low.abs() > high.abs()
    scale = ((high - low) / _LEVELS).clamp_min(1e-7)
    scale = torch.where(from_low, scale, -scale)
    edge = torch.where(from_low, low, high)
    steps = torch.round(edge / scale)
    nonzero = steps != 0
    scale = torch.where(nonzero, edge / torch.where(nonzero, steps, 1.0), scale)
    bias = torch.where(nonzero, edge, 0.0)
    return torch.round((groups - bias) / scale).clamp(0, _LEVELS), scale, bias


def fake_quantize(weight):
    """The value the quantized weight will have; gradients pass straight through."""
    with torch.no_grad():
        levels, scale, bias = _levels(weight)
        value = levels * scale.bfloat16().float() + bias.bfloat16().float()
        change = value.flatten(-2) - weight
    return weight + change


def quantize(weight):
    """(packed uint32 [out, in/8], scales bf16 [out, in/64], biases bf16 [out, in/64]).

    Element i of a word sits at bits 4*i.
    """
    levels, scale, bias = _levels(weight)
    nibbles = levels.to(torch.int64).flatten(-2).unflatten(-1, (-1, 8))
    packed = (nibbles << (torch.arange(8, device=weight.device) * BITS)).sum(-1)
    return packed.to(torch.uint32), scale.squeeze(-1).bfloat16(), bias.squeeze(-1).bfloat16()
