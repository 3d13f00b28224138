#include "device/metal/metal_device.h"
#include "parity/parity.h"

namespace krserve::parity {
namespace {

#if defined(KR_METAL_SIM)
constexpr bool kMayBeAbsent = false;
#else
constexpr bool kMayBeAbsent = true;
#endif

// Null where there is no device, or not of this path.
BackEnd metal(const char* name, MetalPath path) {
  return {name, [path]() -> std::shared_ptr<Device> {
            MetalDeviceOptions options;
            options.path = path;
            try {
              return make_metal_device(options);
            } catch (const DeviceError& error) {
              if (kMayBeAbsent && error.where() == "device.open") return nullptr;
              throw;
            }
          }};
}

INSTANTIATE_TEST_SUITE_P(Metal, Parity,
                         ::testing::Values(metal("Metal3", MetalPath::kMetal3),
                                           metal("Metal4", MetalPath::kMetal4)),
                         name_of);

}  // namespace
}  // namespace krserve::parity
