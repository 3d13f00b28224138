"""Checks quant.py against mlx.core.quantize (pip install "mlx[cpu]"); prints the differences."""

import mlx.core as mx
import numpy as np
import torch

import quant


def main():
    torch.manual_seed(0)
    for spread in (1e-3, 0.05, 1.0):
        weight = (torch.randn(256, 768) * spread).bfloat16()
        weight[0] = 0
        weight[1] = weight[1].abs()
        packed, scales, biases = quant.quantize(weight.float())
        theirs = mx.quantize(mx.array(weight.float().numpy()).astype(mx.bfloat16), group_size=64,
                             bits=4)
        mine = (packed.numpy(), scales.float().numpy(), biases.float().numpy())
        differ = [int((np.array(t.astype(mx.float32) if t.dtype == mx.bfloat16 else t) != m).sum())
                  for t, m in zip(theirs, mine)]
        fake = quant.fake_quantize(weight.float())
        back = np.array(mx.dequantize(*theirs, group_size=64, bits=4).astype(mx.float32))
        print(f"spread {spread}: differing words {differ[0]}, scales {differ[1]}, biases {differ[2]};"
              f" largest |fake - dequantized| {np.abs(fake.numpy() - back).max():.2e}")


if __name__ == "__main__":
    main()
