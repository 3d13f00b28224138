// Weights on their way to the device: what arrives, how much memory that takes, what goes wrong.
#include "model/decoder/weight_stream.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/units.h"
#include "device/fake/fake_device.h"
#include "model/decoder/device_weights.h"
#include "model_files.h"
#include "runtime/blit_queue/blit_queue.h"
#include "runtime/blit_queue/direct_blit.h"

namespace krserve {
namespace {

using test::TempDir;
using ::testing::HasSubstr;

constexpr uint64_t kStagingMb = 1;

// What the next reads do instead; one test at a time.
std::atomic<int> g_reads_until_fault{0};

ssize_t failing_pread(int fd, void* out, size_t bytes, off_t offset) {
  if (--g_reads_until_fault > 0) return ::pread(fd, out, bytes, offset);
  errno = EIO;
  return -1;
}

ssize_t halting_pread(int fd, void* out, size_t bytes, off_t offset) {
  if (g_reads_until_fault++ % 2 == 0) {
    errno = EINTR;
    return -1;
  }
  return ::pread(fd, out, std::min<size_t>(bytes, 1000), offset);
}

// The shipped model, 3.6 MiB, in a directory of its own.
class WeightLoad : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::copy(std::filesystem::path(KR_SOURCE_DIR) / "models/tiny", dir_.path(),
                          std::filesystem::copy_options::recursive);
    checkpoint_ = std::make_shared<const Checkpoint>(dir_.path());
    config_ = read_model_config(dir_.path());
    open(false);
  }

  void open(bool unified) {
    blit_.reset();
    FakeOptions options;
    options.unified_memory = unified;
    device_ = std::make_shared<FakeDevice>(options);
    allocator_ = std::make_unique<runtime::DirectAllocator>(device_);
    BlitQueueConfig config;
    config.staging_buffer_size_mb = kStagingMb;
    blit_ = std::make_unique<runtime::BlitQueue>(device_, config);
  }

  std::unique_ptr<DeviceWeights> load(const WeightLoading& loading,
                                      runtime::Transfers* transfers = nullptr) {
    progress_.clear();
    return std::make_unique<DeviceWeights>(
        device_, *allocator_, transfers ? *transfers : *blit_, checkpoint_, config_, 64,
        [this](double fraction) { progress_.push_back(fraction); }, loading);
  }

  // The embeddings and a matrix of the last layer, as the device has them.
  void expect_right(const DeviceWeights& weights) {
    const Checkpoint fresh(dir_.path());
    const DecoderWeights truth = load_decoder_weights(fresh, config_);
    const auto expect_same = [](const BufferView& view, const TensorView& tensor) {
      ASSERT_EQ(view.bytes, tensor.bytes);
      EXPECT_EQ(std::memcmp(view.contents(), tensor.data, tensor.bytes), 0) << tensor.name;
    };
    expect_same(weights.embeddings().weight, truth.embeddings.weight);
    for (size_t i = 0; i < truth.layers.size(); ++i) {
      expect_same(weights.layers()[i].gate.weight, truth.layers[i].gate.weight);
      expect_same(weights.layers()[i].down.weight, truth.layers[i].down.weight);
      const auto& norm = truth.layers[i].mlp_norm;
      EXPECT_EQ(std::memcmp(weights.layers()[i].mlp_norm.contents(), norm.data(),
                            norm.size() * sizeof(float)),
                0);
    }
  }

  // Of loading through a checkpoint whose file loses its second half first.
  std::string error_when_cut_short(const WeightLoading& loading) {
    const auto file = dir_ / "model.safetensors";
    const auto size = std::filesystem::file_size(file);
    std::filesystem::resize_file(file, size / 2);
    return error_of(loading);
  }

  std::string error_of(const WeightLoading& loading) {
    try {
      load(loading);
    } catch (const ModelError& error) {
      return error.what();
    }
    return "no error";
  }

  TempDir dir_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  ModelConfig config_;
  std::shared_ptr<FakeDevice> device_;
  std::unique_ptr<runtime::DirectAllocator> allocator_;
  std::unique_ptr<runtime::BlitQueue> blit_;
  std::vector<double> progress_;
};

WeightLoading streamed(uint32_t threads = 4, PreadFunction pread = nullptr) {
  WeightLoading loading;
  loading.stream = true;
  loading.threads = threads;
  loading.pread = pread;
  return loading;
}

TEST_F(WeightLoad, IsMappedWhereTheDeviceCanAndCountedAsNoCopy) {
  open(true);
  const auto weights = load({});
  EXPECT_TRUE(weights->mapped());
  expect_right(*weights);
  const runtime::BlitStatistics s = blit_->statistics();
  EXPECT_GT(s.mapped_bytes, checkpoint_->bytes() * 9 / 10);
  EXPECT_LE(s.mapped_bytes, checkpoint_->bytes());
  EXPECT_LT(s.upload_bytes, checkpoint_->bytes() / 10) << "norms and the rotary table";
  EXPECT_EQ(device_->count_calls("commit"), 0U);
  EXPECT_GE(weights->load_report().bytes, checkpoint_->bytes());
}

TEST_F(WeightLoad, GoesThroughTheStagingMemoryWithoutUnifiedMemory) {
  for (const uint32_t threads : {1U, 4U, 16U}) {
    open(false);
    const auto weights = load(streamed(threads));
    EXPECT_FALSE(weights->mapped());
    expect_right(*weights);
    EXPECT_EQ(blit_->statistics().no_copy_count, 0U);
    EXPECT_GT(device_->count_calls("commit copy_to_device"), 10U);
  }
}

TEST_F(WeightLoad, HoldsNoMoreThanTheWeightsAndTheStagingMemory) {
  const auto weights = load({});
  const uint64_t live = allocator_->statistics().live_bytes;
  EXPECT_LE(device_->memory().peak_bytes, live + kStagingMb * kMiB);
  EXPECT_LE(blit_->statistics().staging_bytes, kStagingMb * kMiB);
}

TEST_F(WeightLoad, MayBeStreamedIntoSharedMemory) {
  open(true);
  const auto weights = load(streamed());
  EXPECT_FALSE(weights->mapped());
  expect_right(*weights);
  EXPECT_EQ(device_->count_calls("commit"), 0U) << "read to where the device reads it";
  EXPECT_EQ(blit_->statistics().staging_bytes, 0U);
  EXPECT_GT(blit_->statistics().no_copy_count, 0U);
}

TEST_F(WeightLoad, WorksWithoutTheQueue) {
  runtime::DirectBlit direct(device_);
  expect_right(*load({}, &direct));
}

TEST_F(WeightLoad, ReportsProgressThatNeverFalls) {
  for (const bool unified : {true, false}) {
    open(unified);
    load({});
    ASSERT_FALSE(progress_.empty());
    EXPECT_TRUE(std::is_sorted(progress_.begin(), progress_.end()));
    EXPECT_EQ(progress_.back(), 1.0);
    EXPECT_GE(progress_.front(), 0.0);
  }
}

TEST_F(WeightLoad, ShortAndInterruptedReadsGoOn) {
  for (const bool unified : {true, false}) {
    open(unified);
    g_reads_until_fault = 0;
    WeightLoading loading = streamed(3, &halting_pread);
    loading.stream = !unified;
    expect_right(*load(loading));
    EXPECT_GT(g_reads_until_fault, 1000);
  }
}

TEST_F(WeightLoad, AReadErrorIsAModelErrorWhereverItStrikes) {
  for (const bool unified : {true, false}) {
    int nth = 1;
    for (;; ++nth) {
      open(unified);
      g_reads_until_fault = nth;
      WeightLoading loading = streamed(3, &failing_pread);
      loading.stream = !unified;
      const std::string error = error_of(loading);
      if (error == "no error") break;
      EXPECT_THAT(error, HasSubstr("model.safetensors: cannot read: Input/output error"));
      EXPECT_EQ(blit_->statistics().queue_depth, 0U);
      EXPECT_EQ(allocator_->statistics().live_bytes, 0U);
      nth += nth > 4 ? 10 : 0;
    }
    EXPECT_GT(nth, 1);
    expect_right(*load({}));
  }
}

TEST_F(WeightLoad, AFileCutShortAfterItWasOpenedIsAModelError) {
  open(true);
  EXPECT_THAT(error_when_cut_short({}), HasSubstr("was cut short, re-download it"));
  open(false);
  EXPECT_THAT(error_of(streamed()), HasSubstr("was cut short, re-download it"));
}

ssize_t truncated_pread(int, void*, size_t, off_t) {
  return 0;
}

TEST_F(WeightLoad, AFileThatEndsWhileItIsReadIsAModelError) {
  for (const bool unified : {true, false}) {
    open(unified);
    WeightLoading loading = streamed(2, &truncated_pread);
    loading.stream = !unified;
    EXPECT_THAT(error_of(loading), HasSubstr("the file was cut short"));
  }
}

TEST_F(WeightLoad, EveryCopyMayFailAndIsNotOverlooked) {
  for (uint64_t nth = 1; nth <= 30; nth += 3) {
    for (const FakeFault fault : {FakeFault::kCommit, FakeFault::kExecution}) {
      open(false);
      device_->inject(fault, nth, QueueKind::kCopyToDevice);
      EXPECT_THROW(load(streamed()), DeviceError) << nth;
      device_->clear_faults();
      EXPECT_EQ(blit_->statistics().queue_depth, 0U);
      expect_right(*load(streamed()));
    }
  }
}

TEST_F(WeightLoad, EveryAllocationMayFail) {
  const auto refused = [this](uint64_t nth) {
    open(false);
    device_->inject(FakeFault::kAllocation, nth);
    try {
      load({});
      return false;
    } catch (const OutOfMemoryError&) {
      EXPECT_EQ(allocator_->statistics().live_bytes, 0U);
      return true;
    }
  };
  uint64_t nth = 1;
  while (refused(nth)) ++nth;
  EXPECT_GT(nth, 1U);
  EXPECT_EQ(nth - 1, allocator_->statistics().device_allocations);
}

TEST_F(WeightLoad, AProgressFunctionThatThrowsEndsTheLoad) {
  for (const bool unified : {true, false}) {
    open(unified);
    EXPECT_THROW(DeviceWeights(device_, *allocator_, *blit_, checkpoint_, config_, 64,
                               [](double) { throw UsageError("test.progress", "stop"); }),
                 UsageError);
  }
}

TEST(FileReader, NamesAFileThatCannotBeOpened) {
  try {
    FileReader("no/such/file");
    FAIL() << "opened";
  } catch (const ModelError& error) {
    EXPECT_THAT(error.what(), HasSubstr("no/such/file: cannot open"));
  }
}

}  // namespace
}  // namespace krserve
