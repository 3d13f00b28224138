// Writes model directories with random weights in the exact shape of published models, for timing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

namespace krserve {

// Called with the fraction written, 0 to 1, a few hundred times.
using SynthProgress = std::function<void(double)>;

// `shape`: tiny, qwen2.5-0.5b, qwen2.5-1.5b, qwen2.5-7b, qwen3-0.6b or llama-3.2-1b.
// `bits`: 4 or 8 in MLX's format with groups of 32, 64 or 128; 16 is bf16, group_size unused.
// The same arguments give the same bytes. The directory appears under its name when it is complete.
// Throws UsageError for bad arguments or a directory that is not empty, ModelError when the disk is
// full or cannot be written; nothing is left behind then.
void synthesize(std::string_view shape, uint32_t bits, uint32_t group_size,
                const std::filesystem::path& out_dir, uint64_t seed,
                const SynthProgress& progress = {});

}  // namespace krserve
