// The matmul kernels that a plan can choose from.
#pragma once

#include "kernels/tuned/cuda/matmul_params.h"

namespace krserve::kernels::cuda {

// Null for formats without one. `parts`: tiles of 16 outputs that a warp works on, 1 or 2.
// `prepare`: one row, normalized and converted by the kernel itself.
const void* stream_kernel_for(ops::WeightFormat format, uint32_t parts, bool prepare);
uint32_t stream_shared_bytes(ops::WeightFormat format, uint32_t k, uint32_t rows,
                             uint32_t group_size, uint32_t parts);
// A block can hold the scales and biases of such a row.
bool stream_has_room(uint32_t k, uint32_t group_size, uint32_t parts);

// A block of the tiled kernel makes 128 outputs (or 64 gated pairs) of this many rows.
inline constexpr uint32_t kTiledOutputs = 128;
enum class TiledRows : uint32_t { k32 = 32, k64 = 64, k128 = 128 };
const void* tiled_kernel_for(ops::WeightFormat format, TiledRows rows);
uint32_t tiled_shared_bytes(TiledRows rows);
// The same with Hopper's warpgroup instructions; stops on other GPUs. Blocks of x are along
// the rows, of y along the outputs.
const void* warpgroup_kernel_for(ops::WeightFormat format, TiledRows rows);
uint32_t warpgroup_shared_bytes(ops::WeightFormat format, TiledRows rows);
// float4s that a tile's partial sums take, for all slices.
uint32_t tiled_partials(TiledRows rows);

// `warpgroup`: halves in the order that the warpgroup kernel wants. Never null: f32 takes the order
// of f16.
const void* prepare_kernel_for(ops::WeightFormat format, RowSource source, bool warpgroup);

}  // namespace krserve::kernels::cuda
