#include <numeric>

#include "parity/parity.h"

namespace krserve::parity {
namespace {

constexpr Storage kStorages[] = {Storage::kPrivate, Storage::kShared, Storage::kStaging};

Bytes counting(uint64_t bytes, uint8_t first) {
  Bytes out(bytes);
  std::iota(out.begin(), out.end(), first);
  return out;
}

TEST_P(Parity, ZeroBytesAreRefused) {
  for (const Storage storage : kStorages) {
    EXPECT_THROW(device_->new_buffer(0, storage), OutOfMemoryError);
    EXPECT_THROW(device_->new_heap(0, storage), OutOfMemoryError);
  }
}

TEST_P(Parity, MoreThanThereIsIsRefused) {
  EXPECT_THROW(device_->new_buffer(UINT64_MAX, Storage::kShared), OutOfMemoryError);
  EXPECT_THROW(device_->new_heap(uint64_t{1} << 60, Storage::kShared), OutOfMemoryError);
}

TEST_P(Parity, BuffersHaveTheSizeAndStorageAskedFor) {
  for (const Storage storage : kStorages) {
    for (const uint64_t bytes : {1, 63, 64, 4096, 4097, 3 << 20}) {
      auto one = device_->new_buffer(bytes, storage);
      EXPECT_EQ(one->size_bytes(), bytes);
      EXPECT_EQ(one->storage(), storage);
      const auto address = reinterpret_cast<uintptr_t>(one->address());
      EXPECT_EQ(address % device_->info().alignment_bytes, 0U);
      EXPECT_TRUE(one->contents() == nullptr || one->address() == one->contents());
    }
  }
}

TEST_P(Parity, StagingMemoryIsReachableByTheHostToTheLastByte) {
  auto staging = device_->new_buffer(4099, Storage::kStaging);
  ASSERT_NE(staging->contents(), nullptr);
  std::memset(staging->contents(), 0x5a, 4099);
  EXPECT_EQ(read_all<uint8_t>(whole(*staging)), Bytes(4099, 0x5a));
}

TEST_P(Parity, AHeapIsCoveredByItsBuffer) {
  auto heap = device_->new_heap(1 << 20, Storage::kShared);
  EXPECT_EQ(heap->size_bytes(), uint64_t{1} << 20);
  EXPECT_EQ(&heap->buffer(), &heap->buffer());
  const BufferView a = whole(heap->buffer()).sub(0, 512);
  const BufferView b = whole(heap->buffer()).sub(512, 512);
  write(a, counting(512, 0));
  write(b, counting(512, 7));
  EXPECT_EQ(read_all<uint8_t>(a), counting(512, 0));
  EXPECT_EQ(read_all<uint8_t>(b), counting(512, 7));
}

TEST_P(Parity, AViewOfAViewCountsFromIt) {
  auto one = buffer_of(counting(256, 0));
  const BufferView inner = whole(*one).sub(100, 50).sub(10, 5);
  EXPECT_EQ(inner.offset, 110U);
  EXPECT_EQ(inner.address(), one->address() == nullptr ? nullptr : one->address() + 110);
  EXPECT_EQ(read_all<uint8_t>(inner), counting(5, 110));
}

TEST_P(Parity, MemoryCountsWhatIsLiveAndThePeak) {
  const DeviceMemory before = device_->memory();
  {
    auto heap = device_->new_heap(1 << 20, Storage::kShared);
    auto one = device_->new_buffer(1000, Storage::kPrivate);
    const DeviceMemory during = device_->memory();
    EXPECT_EQ(during.allocations, before.allocations + 2);
    EXPECT_EQ(during.live_bytes, before.live_bytes + (1 << 20) + 1000);
  }
  const DeviceMemory after = device_->memory();
  EXPECT_EQ(after.live_bytes, before.live_bytes);
  EXPECT_GE(after.peak_bytes, before.live_bytes + (1 << 20) + 1000);
  EXPECT_EQ(after.allocations, before.allocations + 2);
}

TEST_P(Parity, WrappedHostMemoryIsReadWhereItLies) {
  Bytes host = counting(4096, 3);
  auto copy = buffer_of(Bytes(host.size(), 0));
  read_all<uint8_t>(whole(*copy));  // what a device sets up for the first copies is there
  const DeviceMemory memory = device_->memory();
  auto wrapped = device_->wrap_host_memory(host.data(), host.size());
  if (!wrapped) {
    EXPECT_FALSE(device_->info().unified_memory);
    return;
  }
  EXPECT_EQ(wrapped->size_bytes(), host.size());
  for (int round = 0; round < 2; ++round) {
    auto commands = begin(*compute_);
    commands->copy(whole(*copy), whole(*wrapped));
    run(*compute_, commands);
    EXPECT_EQ(read_all<uint8_t>(whole(*copy)), host);
    std::fill(host.begin(), host.end(), uint8_t{9});
  }
  EXPECT_EQ(device_->memory().live_bytes, memory.live_bytes);
}

TEST_P(Parity, AHostViewIsSourceAndDestinationOfCopies) {
  Bytes from = counting(10007, 1);
  Bytes to(from.size());
  auto one = buffer(from.size());
  auto source = device_->new_host_view(from.data(), from.size());
  auto target = device_->new_host_view(to.data(), to.size());
  auto in = begin(*up_);
  in->copy(whole(*one), whole(*source));
  run(*up_, in);
  auto out = begin(*down_);
  out->copy(whole(*target), whole(*one));
  run(*down_, out);
  EXPECT_EQ(to, from);
}

}  // namespace
}  // namespace krserve::parity
