#include "device/fake/fake_device.h"
#include "parity/parity.h"

namespace krserve::parity {
namespace {

BackEnd fake(const char* name, bool unified_memory) {
  return {name, [unified_memory] {
            FakeOptions options;
            options.unified_memory = unified_memory;
            return std::make_shared<FakeDevice>(options);
          }};
}

INSTANTIATE_TEST_SUITE_P(Fake, Parity,
                         ::testing::Values(fake("FakeUnified", true), fake("FakeDiscrete", false)),
                         name_of);

}  // namespace
}  // namespace krserve::parity
