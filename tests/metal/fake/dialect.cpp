#include "metal/fake/dialect.h"

#include <algorithm>
#include <cstring>

#include "metal/fake/dialect_uses.h"

namespace krserve::fake_metal {
namespace {

using kernels::DialectParams;

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

kernels::Dim3 dim3(MTLSize size) {
  return {static_cast<uint32_t>(size.width), static_cast<uint32_t>(size.height),
          static_cast<uint32_t>(size.depth)};
}

}  // namespace

bool resolve_addresses(Command& command, const Launch& launch, const HostKernel& kernel,
                       DialectParams& resolved) {
  std::memcpy(&resolved, launch.buffers[0], sizeof(resolved));
  std::array<Buffer*, ops::kMaxBuffers> buffers{};
  std::array<uint64_t, ops::kMaxBuffers> offsets{};
  for (size_t i = 0; i < buffers.size(); ++i) {
    const auto address = reinterpret_cast<uint64_t>(resolved.buffers[i]);
    if (address == 0) continue;
    buffers[i] = Buffer::at(address);
    if (!buffers[i]) {
      violate(Rule::kBadAddress, command.what + ": no live buffer holds " + hex(address) +
                                     ", its buffer " + std::to_string(i));
      return false;
    }
    offsets[i] = address - buffers[i]->address();
    resolved.buffers[i] = buffers[i]->bytes() + offsets[i];
    // Of no bytes: what the op touches comes below.
    command.uses.push_back(buffers[i]->use(offsets[i], 0, false));
    command.uses.back().by_address = true;
  }
  for (const DialectUse& use : dialect_uses(kernel.id, resolved, dim3(launch.groups))) {
    Buffer* const buffer = buffers[use.buffer];
    if (!buffer || !buffer->is_range(offsets[use.buffer] + use.begin, use.bytes)) {
      violate(buffer ? Rule::kRange : Rule::kMissingBinding,
              command.what + ": " + std::to_string(use.bytes) + " bytes at " +
                  std::to_string(use.begin) + " of its buffer " + std::to_string(use.buffer));
      return false;
    }
    command.uses.push_back(buffer->use(offsets[use.buffer] + use.begin, use.bytes, use.writes));
    command.uses.back().by_address = true;
  }
  return true;
}

void run_on_emulator(const Launch& launch, const HostKernel& kernel, const DialectParams& params,
                     uint64_t seed) {
  kernels::GpuLaunch one;
  one.kernel = kernel.simt;
  one.name = kernel.name.c_str();
  one.grid = dim3(launch.groups);
  one.block = dim3(launch.threads);
  one.params_bytes = sizeof(params);
  std::memcpy(one.params, &params, sizeof(params));
  try {
    kernels::simt_launch(one, seed);
  } catch (const kernels::SimtError& error) {
    violate(Rule::kKernelFault, error.what());
  }
}

}  // namespace krserve::fake_metal
