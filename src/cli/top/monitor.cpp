#include "cli/top/monitor.h"

namespace krserve::cli {
namespace {

// How long a new run is pointed out.
constexpr auto kNotice = std::chrono::seconds(5);

}  // namespace

void Monitor::answered(Snapshot snapshot) {
  rates_ = {};
  if (last_) {
    rates_ = rates_between(*last_, snapshot);
    if (!snapshot.same_run(*last_)) restarted_ = snapshot.taken;
  }
  error_.clear();
  last_ = std::move(snapshot);
}

void Monitor::failed(std::string why) {
  rates_ = {};
  error_ = std::move(why);
}

View Monitor::view(Time now) const {
  View out;
  out.last = last_;
  out.rates = rates_;
  out.error = error_;
  if (last_) out.answer_age_s = std::chrono::duration<double>(now - last_->taken).count();
  out.restarted = restarted_ && now - *restarted_ < kNotice;
  return out;
}

}  // namespace krserve::cli
