#include "server/json_rpc/load_progress.h"

#include "server/json_rpc/protocol.h"

namespace krserve::server::rpc {
namespace {

constexpr double kLeastStep = 0.01;

}  // namespace

void LoadProgress::update(double fraction, const std::string& what) {
  const std::lock_guard lock(mutex_);
  const bool end = fraction >= 1 && fraction_ < 1;
  const bool news = what != what_ || end || fraction >= fraction_ + kLeastStep;
  if (!news) return;
  fraction_ = fraction;
  what_ = what;
  if (due_) return;
  due_ = true;
  writer_.post([self = shared_from_this()] { return self->next_frame(); });
}

std::string LoadProgress::next_frame() {
  const std::lock_guard lock(mutex_);
  due_ = false;
  return notification_text(
      "load_progress",
      {{"request", request_}, {"model", model_}, {"fraction", fraction_}, {"what", what_}});
}

}  // namespace krserve::server::rpc
