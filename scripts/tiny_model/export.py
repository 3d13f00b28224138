"""Quantizes float32 master weights to MLX 4-bit and writes the model directory."""

import argparse
import json
import pathlib

from safetensors.torch import load_file, save_file

import quant
from model import CONFIG


def load_master(path):
    state = {}
    for part in sorted(path.glob("master-*.safetensors")):
        state.update(load_file(part))
    if not state:
        raise FileNotFoundError(f"[export.load_master] no master-*.safetensors in {path}")
    return state


def mlx_tensors(state):
    """MLX's names and types: packed matrices with scales and biases, the rest in bf16."""
    tensors = {}
    for name, value in sorted(state.items()):
        if value.ndim == 2:
            stem = name.removesuffix(".weight")
            packed, scales, biases = quant.quantize(value)
            tensors |= {f"{stem}.weight": packed, f"{stem}.scales": scales, f"{stem}.biases": biases}
        else:
            tensors[name] = value.bfloat16()
    return tensors


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--master", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, default="models/tiny")
    parser.add_argument("--set", default="{}", help="as given to train.py")
    args = parser.parse_args()
    tensors = mlx_tensors(load_master(args.master))
    save_file(tensors, args.out / "model.safetensors", metadata={"format": "mlx"})
    (args.out / "model.safetensors").chmod(0o644)
    scheme = {"group_size": quant.GROUP_SIZE, "bits": quant.BITS}
    tokens = {"bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0}
    config = CONFIG | json.loads(args.set) | tokens
    write_json(args.out / "config.json",
               config | {"quantization": scheme, "quantization_config": scheme})
    write_json(args.out / "generation_config.json",
               {"do_sample": False, "eos_token_id": [2, 0], "pad_token_id": 0})
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    print(f"{len(tensors)} tensors, {size} bytes")


if __name__ == "__main__":
    main()
