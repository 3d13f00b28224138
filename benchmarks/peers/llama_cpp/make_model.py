"""Writes a random GGUF model of the Qwen2.5-0.5B shape in Q4_0 (4.5 bits per weight, as MLX 4 bit in groups of 64).

python make_model.py OUT.gguf
"""

import sys

import gguf
import numpy as np

LAYERS, HIDDEN, FFN, HEADS, KV_HEADS, VOCAB = 24, 896, 4864, 14, 2, 151936
HEAD_DIM = HIDDEN // HEADS


def q4_0(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Blocks of 32 weights: an f16 scale and 16 bytes of nibbles."""
    blocks = columns // 32
    data = np.empty((rows, blocks, 18), np.uint8)
    scale = np.array([0.02 / 8], np.float16).view(np.uint8)
    data[:, :, :2] = scale
    data[:, :, 2:] = rng.integers(0, 256, (rows, blocks, 16), np.uint8)
    return data.reshape(rows, blocks * 18)


def add_metadata(writer: gguf.GGUFWriter) -> None:
    writer.add_context_length(4096)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([f"t{i}" for i in range(VOCAB)])
    writer.add_token_types([gguf.TokenType.NORMAL] * VOCAB)
    writer.add_token_merges(["t 0"])
    writer.add_eos_token_id(VOCAB - 1)


def main() -> None:
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(sys.argv[1], "qwen2")
    add_metadata(writer)

    def add(name: str, rows: int, columns: int) -> None:
        writer.add_tensor(name, q4_0(rng, rows, columns), raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    def add_vector(name: str, value: np.ndarray) -> None:
        writer.add_tensor(name, value.astype(np.float32))

    add("token_embd.weight", VOCAB, HIDDEN)
    add_vector("output_norm.weight", np.ones(HIDDEN))
    for i in range(LAYERS):
        prefix = f"blk.{i}."
        add_vector(prefix + "attn_norm.weight", np.ones(HIDDEN))
        add_vector(prefix + "ffn_norm.weight", np.ones(HIDDEN))
        for name, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            add(f"{prefix}attn_{name}.weight", heads * HEAD_DIM, HIDDEN)
            add_vector(f"{prefix}attn_{name}.bias", np.zeros(heads * HEAD_DIM))
        add(prefix + "attn_output.weight", HIDDEN, HIDDEN)
        add(prefix + "ffn_gate.weight", FFN, HIDDEN)
        add(prefix + "ffn_up.weight", FFN, HIDDEN)
        add(prefix + "ffn_down.weight", HIDDEN, FFN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
