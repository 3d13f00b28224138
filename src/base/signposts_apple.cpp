#include <os/signpost.h>

#include "base/signposts.h"

namespace krserve {
namespace {

// The macros take the interval's name as a literal only, so each kind has its own line.
class SystemSignposts final : public Signposts {
 public:
  // Instruments records this category in every template, Metal System Trace among them.
  SystemSignposts() : log_(os_log_create("krserve", OS_LOG_CATEGORY_POINTS_OF_INTEREST)) {}
  ~SystemSignposts() override { os_release(log_); }

  bool listening() const override { return os_signpost_enabled(log_); }

  void begin(Signpost kind, uint64_t id, const char* what) override {
    switch (kind) {
      case Signpost::kStep:
        os_signpost_interval_begin(log_, id, "step", "%{public}s", what);
        break;
      case Signpost::kUpload:
        os_signpost_interval_begin(log_, id, "copy to device", "%{public}s", what);
        break;
      case Signpost::kDownload:
        os_signpost_interval_begin(log_, id, "copy to host", "%{public}s", what);
        break;
      case Signpost::kPhase:
        os_signpost_interval_begin(log_, id, "engine", "%{public}s", what);
        break;
    }
  }

  void end(Signpost kind, uint64_t id) override {
    switch (kind) {
      case Signpost::kStep:
        os_signpost_interval_end(log_, id, "step");
        break;
      case Signpost::kUpload:
        os_signpost_interval_end(log_, id, "copy to device");
        break;
      case Signpost::kDownload:
        os_signpost_interval_end(log_, id, "copy to host");
        break;
      case Signpost::kPhase:
        os_signpost_interval_end(log_, id, "engine");
        break;
    }
  }

 private:
  os_log_t log_;
};

}  // namespace

std::shared_ptr<Signposts> system_signposts() {
  return std::make_shared<SystemSignposts>();
}

}  // namespace krserve
