// In the test programs of a build on the model of Metal: a test fails by what the model refused.
#include <gtest/gtest.h>

#include "metal/fake/objc_model.h"

namespace krserve::fake_metal {
namespace {

class CheckViolations : public testing::EmptyTestEventListener {
  void OnTestEnd(const testing::TestInfo&) override {
    for (const Violation& one : Runtime::get().violations()) {
      ADD_FAILURE() << "fake Metal: " << rule_name(one.rule) << ": " << one.text;
    }
    Runtime::get().clear_violations();
  }
};

[[maybe_unused]] const bool kChecked = [] {
  testing::UnitTest::GetInstance()->listeners().Append(new CheckViolations);
  return true;
}();

}  // namespace
}  // namespace krserve::fake_metal
