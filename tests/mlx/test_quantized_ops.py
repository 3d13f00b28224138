"""krserve's dequantize and quantized matmul beside mx.dequantize and mx.quantized_matmul, both in f32.

`size` below is what is summed up, sum |x| (|scale| q + |bias|): rounding errors are fractions of it.
"""

import subprocess

import mlx.core as mx
import numpy as np
import pytest
from support import TOOL

EPSILON = 2.0**-24  # half a unit in the last place of 1
# Of a sum in f32. Measured: at most 9e-9 for krserve, 3e-8 for MLX (figures.py).
SUM_BOUND = 2.0**-22
SHAPES = [(1, 128, 1), (7, 256, 3), (129, 384, 5), (515, 640, 17), (1003, 896, 2), (33, 4864, 4)]


def quantized(n, k, bits, group_size, dtype):
    weight = mx.random.normal((n, k)).astype(getattr(mx, dtype))
    return mx.quantize(weight, group_size, bits)


def run_ops(folder, parts, x):
    """{"rows.LEVEL": [n, k], "y.LEVEL": [rows, n]} of krserve."""
    names = ("w.weight", "w.scales", "w.biases")
    (folder / "in").mkdir()
    arrays = dict(zip(names, parts)) | {"x": x}
    mx.save_safetensors(str(folder / "in/model.safetensors"), arrays)
    out = folder / "out.safetensors"
    n, k = parts[0].shape[0], x.shape[1]
    subprocess.run([TOOL, "ops", folder / "in", str(n), str(k), out], check=True, timeout=120)
    return {name: np.array(array) for name, array in mx.load(str(out)).items()}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("group_size", [32, 64, 128])
@pytest.mark.parametrize("bits", [4, 8])
def test_dequantize_and_matmul_agree_with_mlx(tmp_path, bits, group_size, dtype):
    mx.random.seed(bits * group_size)
    for i, (n, k, rows) in enumerate(SHAPES):
        parts = quantized(n, k, bits, group_size, dtype)
        x = mx.random.normal((rows, k)) * 3
        (tmp_path / str(i)).mkdir()
        results = run_ops(tmp_path / str(i), parts, x)
        wide = (parts[0], *(p.astype(mx.float32) for p in parts[1:]))
        check_rows(results, wide, bits, group_size)
        check_product(results, wide, x, bits, group_size)


def check_rows(results, wide, bits, group_size):
    """scale * q is exact or rounded once, and so is the sum: at most two roundings apart."""
    expected = np.array(mx.dequantize(*wide, group_size, bits))
    largest = magnitudes(wide, bits, group_size)
    for name, rows in results.items():
        if name.startswith("rows."):
            assert (abs(rows - expected) <= 2 * EPSILON * largest).all(), name


def magnitudes(wide, bits, group_size):
    """|scale| q + |bias| of every weight."""
    zero = mx.zeros_like(wide[1])
    levels = np.array(mx.dequantize(wide[0], mx.abs(wide[1]), zero, group_size, bits))
    return levels + np.repeat(abs(np.array(wide[2])), group_size, axis=1)


def check_product(results, wide, x, bits, group_size):
    theirs = np.array(mx.quantized_matmul(x, *wide, True, group_size, bits))
    x = np.array(x, dtype=np.float64)
    weight = np.array(mx.dequantize(*wide, group_size, bits), dtype=np.float64)
    exact = x @ weight.T
    largest = magnitudes(wide, bits, group_size).astype(np.float64)
    size = abs(x) @ largest.T
    sum_bound = size * SUM_BOUND
    assert (abs(theirs - exact) <= sum_bound).all(), "the bound does not hold for MLX itself"
    for name, ours in results.items():
        if not name.startswith("y."):
            continue
        bound = sum_bound
        if name == "y.avx512_vnni" and bits == 4 and group_size >= 64:
            # Activations are rounded to 2^-16 of the largest of each 64 (decision 005).
            blocks = abs(x).reshape(len(x), -1, 64).max(-1)
            bound = sum_bound + blocks @ largest.reshape(len(weight), -1, 64).sum(-1).T * 2.0**-16
        assert (abs(ours - exact) <= bound).all(), name
        assert (abs(ours - theirs) <= bound + sum_bound).all(), name
