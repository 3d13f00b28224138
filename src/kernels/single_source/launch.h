// The launch of one dispatch by its single-source kernel, for every back end that compiles the
// dialect.
//
// The grid covers the capacity of the dispatch: the rows or samples that the step layout, or else
// the bytes of the bound x, have room for. Threadgroups beyond the step's rows do nothing.
#pragma once

#include <stdexcept>

#include "kernels/gpu_launch.h"
#include "kernels/ops/matmul.h"
#include "kernels/single_source/kernel_ids.h"
#include "kernels/single_source/sizes.h"

namespace krserve::kernels::single_source {

// What no kernel here can do: a head of more than kMaxHeadDim or an odd number of dimensions, a
// group size that is not 32, 64 or 128, a vocabulary above kSampleMaxVocab.
class UnsupportedDispatch : public std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// The back end's handle of a kernel.
using KernelHandle = const void* (*)(KernelId);

// What the back end's threadgroups can do.
struct DialectLimits {
  // Threadgroups of one launch may hand results to each other. Otherwise one does what several
  // would share; a result's bits are the same.
  bool hand_over = true;
  // Rows of prompts are left out of a matmul that may have some: another kernel computes them.
  bool prompt_matmul = false;
};

// Bytes of workspace the dispatch's launch needs; 0 if none. Launches follow each other, so the
// largest of all dispatches does for all of them. Throws UnsupportedDispatch.
uint64_t dialect_workspace_bytes(const GpuDispatch& dispatch, DialectLimits limits = {});

// `workspace` is aligned to 16. Weights must be aligned to 4 bytes or, floats, to their own size;
// pages of the KV cache to 4 bytes; everything else to its element. Throws UnsupportedDispatch.
GpuLaunch dialect_launch(const GpuDispatch& dispatch, void* workspace, KernelHandle handle,
                         DialectLimits limits = {});

// For kernels that take a matmul's rows of prompts. Whether it may have any that are left out:
bool splits_prompts(const ops::MatmulArgs& args);
// The weights' place in KR_MATMUL_FORMATS.
uint32_t matmul_format(const ops::WeightArgs& weight);
// Which rows the launch computes.
void set_matmul_rows(GpuLaunch& launch, MatmulRows rows);

}  // namespace krserve::kernels::single_source
