// Copies and fills of ragged sizes at odd places, and the read-rate kernel's sums.
#include <fmt/format.h>

#include "cli/selftest/cases.h"
#include "kernels/ops/read_bandwidth.h"

namespace krserve::selftest {
namespace {

constexpr uint64_t kGuard = 67;  // bytes around the destination; odd, so that nothing is aligned

std::vector<uint64_t> sizes(Extent extent) {
  if (extent == Extent::kQuick) return {1, 3, 64, 1000, 65537};
  return {1, 2, 3, 7, 63, 64, 65, 1000, 4095, 4096, 4097, 65536, 65537, 262143, 1048589};
}

void copies(uint64_t bytes, const CaseSink& sink) {
  std::mt19937 random(static_cast<uint32_t>(bytes));
  Case one{"copy", fmt::format("{} bytes", bytes), {}, {}, {{0, Compare::kBytes, 0}}};
  one.contents = {Content{Bytes(bytes + 2 * kGuard, 0xee)},
                  Content{random_bytes(random, bytes + 5)}};
  one.calls = {OpCall::copy(0, kGuard, 1, 5, bytes)};
  sink(one);
  one.op = "fill";
  one.calls = {OpCall::fill(0, kGuard, bytes, 0x3c)};
  sink(one);
  // Aligned, as a step's copies are.
  one.op = "copy";
  one.name += ", aligned";
  one.calls = {OpCall::copy(0, 0, 1, 0, bytes)};
  sink(one);
}

void many_copies(const CaseSink& sink) {
  constexpr uint64_t kPieces = 37, kPiece = 404;
  std::mt19937 random(2);
  Case one{"copy", "37 pieces and back, one command buffer", {}, {}, {{0, Compare::kBytes, 0}}};
  one.contents = {Content{Bytes(kPieces * kPiece)}, Content{random_bytes(random, kPieces * kPiece)},
                  Content{Bytes(kPieces * kPiece)}};
  const auto piece = [](uint64_t i) { return i % kPieces * kPiece; };
  for (uint64_t i = 0; i < kPieces; ++i) {
    one.calls.push_back(OpCall::copy(2, piece(i), 1, piece(i * 5), kPiece));
    one.calls.back().barrier = i + 1 == kPieces;
  }
  for (uint64_t i = 0; i < kPieces; ++i) {
    one.calls.push_back(OpCall::copy(0, piece(i * 3), 2, piece(i), kPiece));
    one.calls.back().barrier = false;
  }
  sink(one);
}

void read_sums(uint64_t chunks, uint64_t chunk_bytes, const CaseSink& sink) {
  std::vector<uint32_t> data(chunks * chunk_bytes / sizeof(uint32_t));
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<uint32_t>(i % 251);
  Case one{"read_bandwidth", fmt::format("{} chunks of {}", chunks, chunk_bytes), {}, {}, {}};
  one.contents = {Content::of(data), Content::of(Floats(chunks + 1, -1.0F))};
  one.calls = {OpCall::of(ops::Op::kReadBandwidth,
                          ops::ReadBandwidthArgs{chunks * chunk_bytes, chunk_bytes}, {0, 1})};
  one.checks = {{0, Compare::kBytes, 0}, {1, Compare::kBytes, 0}};
  sink(one);
}

}  // namespace

void copy_cases(Extent extent, const CaseSink& sink) {
  for (const uint64_t bytes : sizes(extent)) copies(bytes, sink);
  many_copies(sink);
  read_sums(extent == Extent::kQuick ? 33 : 1001, 64, sink);
  read_sums(3, 8192, sink);
}

}  // namespace krserve::selftest
