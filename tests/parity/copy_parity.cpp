#include "parity/parity.h"

namespace krserve::parity {
namespace {

constexpr uint64_t kGuard = 67;  // bytes around the destination; odd, so that nothing is aligned
constexpr uint64_t kSizes[] = {1,
                               2,
                               3,
                               7,
                               63,
                               64,
                               65,
                               1000,
                               4095,
                               4097,
                               (64 << 10),
                               (256 << 10) - 1,
                               256 << 10,
                               (256 << 10) + 1,
                               (1 << 20) + 13};

Bytes pattern(uint64_t bytes) {
  Bytes out(bytes);
  for (uint64_t i = 0; i < bytes; ++i) out[i] = static_cast<uint8_t>(i * 31 + (i >> 8) * 7 + 1);
  return out;
}

TEST_P(Parity, CopiesOfOddSizesTouchNothingElse) {
  for (const uint64_t bytes : kSizes) {
    auto src = buffer_of(pattern(bytes + 5));
    auto dst = buffer_of(Bytes(bytes + 2 * kGuard, 0xee));
    auto commands = begin(*compute_);
    commands->copy(whole(*dst).sub(kGuard, bytes), whole(*src).sub(5, bytes));
    run(*compute_, commands);
    Bytes expected(bytes + 2 * kGuard, 0xee);
    const Bytes source = pattern(bytes + 5);
    std::copy(source.begin() + 5, source.end(), expected.begin() + kGuard);
    EXPECT_EQ(read_all<uint8_t>(whole(*dst)), expected) << bytes << " bytes";
  }
}

// Pages out of the device's memory to staging memory and back to other places, each way in one
// command buffer.
TEST_P(Parity, ManyCopiesOfOneCommandBufferAllLand) {
  constexpr uint64_t kPages = 37;
  constexpr uint64_t kPage = 40'004;
  const Bytes source = pattern(kPages * kPage);
  auto from = buffer_of(source);
  auto host = device_->new_buffer(kPages * kPage, Storage::kStaging);
  auto to = buffer_of(Bytes(kPages * kPage, 0));
  const auto page = [](Buffer& buffer, uint64_t i) {
    return whole(buffer).sub(i % kPages * kPage, kPage);
  };
  auto out = begin(*down_);
  for (uint64_t i = 0; i < kPages; ++i) out->copy(page(*host, i), page(*from, i * 5));
  run(*down_, out);
  auto in = begin(*up_);
  for (uint64_t i = 0; i < kPages; ++i) in->copy(page(*to, i * 5), page(*host, i));
  run(*up_, in);
  EXPECT_EQ(read_all<uint8_t>(whole(*to)), source);
}

TEST_P(Parity, FillsOfOddSizesTouchNothingElse) {
  for (const uint64_t bytes : kSizes) {
    auto dst = buffer_of(Bytes(bytes + 2 * kGuard, 0xee));
    auto commands = begin(*compute_);
    commands->fill(whole(*dst).sub(kGuard, bytes), 0x3c);
    run(*compute_, commands);
    Bytes expected(bytes + 2 * kGuard, 0xee);
    std::fill_n(expected.begin() + kGuard, bytes, uint8_t{0x3c});
    EXPECT_EQ(read_all<uint8_t>(whole(*dst)), expected) << bytes << " bytes";
  }
}

TEST_P(Parity, ACopyTakesTheSmallerOfTheTwoSizes) {
  auto src = buffer_of(pattern(100));
  auto dst = buffer_of(Bytes(100, 0));
  auto commands = begin(*compute_);
  commands->copy(whole(*dst).sub(0, 40), whole(*src));
  commands->copy(whole(*dst).sub(50, 50), whole(*src).sub(0, 10));
  run(*compute_, commands);
  const Bytes result = read_all<uint8_t>(whole(*dst));
  const Bytes source = pattern(100);
  EXPECT_TRUE(std::equal(result.begin(), result.begin() + 40, source.begin()));
  EXPECT_TRUE(std::equal(result.begin() + 50, result.begin() + 60, source.begin()));
  EXPECT_EQ(Bytes(result.begin() + 60, result.end()), Bytes(40, 0));
}

TEST_P(Parity, CopiesAndFillsOfNothingComplete) {
  auto one = buffer_of(Bytes(16, 1));
  auto commands = begin(*compute_);
  commands->copy(whole(*one).sub(0, 0), whole(*one).sub(8, 0));
  commands->fill(whole(*one).sub(16, 0), 9);
  run(*compute_, commands);
  EXPECT_EQ(read_all<uint8_t>(whole(*one)), Bytes(16, 1));
}

TEST_P(Parity, AnEmptyCommandBufferCompletes) {
  run(*compute_, begin(*compute_));
  run(*up_, begin(*up_));
  run(*down_, begin(*down_));
}

TEST_P(Parity, RangesPastTheEndOfABufferAreRefused) {
  auto small = buffer(16);
  auto large = buffer(64);
  auto commands = begin(*compute_);
  EXPECT_THROW(commands->copy({small.get(), 8, 16}, whole(*large)), DeviceError);
  EXPECT_THROW(commands->copy(whole(*large), {small.get(), 17, 1}), DeviceError);
  EXPECT_THROW(commands->copy({}, {small.get(), UINT64_MAX, 2}), DeviceError);
  EXPECT_THROW(commands->fill({small.get(), 0, 17}, 0), DeviceError);
  EXPECT_THROW(commands->fill({nullptr, 0, 1}, 0), DeviceError);
  commands->fill(whole(*small), 5);  // the refused ones left nothing behind
  run(*compute_, commands);
  EXPECT_EQ(read_all<uint8_t>(whole(*small)), Bytes(16, 5));
}

}  // namespace
}  // namespace krserve::parity
