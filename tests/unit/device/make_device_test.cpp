#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "device/device.h"

namespace krserve {
namespace {

TEST(MakeDevice, OpensTheCpuWithTheWorkersAskedFor) {
  DeviceOptions options;
  options.backend = "cpu";
  options.threads = 3;
  const auto device = make_device(options);
  EXPECT_EQ(device->info().backend, "cpu");
  EXPECT_THAT(device->info().name, ::testing::HasSubstr("3 workers"));
  EXPECT_TRUE(device->info().unified_memory);
  EXPECT_GT(device->info().memory_bytes, 0U);
}

TEST(MakeDevice, AutoFindsADevice) {
  DeviceOptions options;
  options.backend = "auto";
  EXPECT_FALSE(make_device(options)->info().backend.empty());
}

TEST(MakeDevice, CudaOpensADeviceOrSaysWhyItCannotAndWhatToDo) {
  DeviceOptions options;
  options.backend = "cuda";
  try {
    const auto device = make_device(options);
    EXPECT_EQ(device->info().backend, "cuda");
    EXPECT_GT(device->info().memory_bytes, 0U);
  } catch (const DeviceError& error) {
    EXPECT_EQ(error.where(), "device.open");
    EXPECT_THAT(error.what(), ::testing::AnyOf(::testing::HasSubstr("KRSERVE_CUDA=ON"),
                                               ::testing::HasSubstr("no CUDA device to be had: ")));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("use device: cpu"));
  }
}

TEST(MakeDevice, AnUnknownNameIsAConfigErrorThatListsTheKnownOnes) {
  DeviceOptions options;
  options.backend = "abacus";
  try {
    make_device(options);
    FAIL() << "opened";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("abacus"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("auto, cpu, cuda or metal"));
  }
}

}  // namespace
}  // namespace krserve
