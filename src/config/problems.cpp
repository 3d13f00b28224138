#include "config/problems.h"

#include "base/error.h"

namespace krserve {
namespace {

constexpr size_t kMaxReported = 20;

}  // namespace

void Problems::add(std::string text) {
  ++count_;
  if (texts_.size() < kMaxReported) texts_.push_back(std::move(text));
}

void Problems::throw_if_any() const {
  if (count_ == 0) return;
  if (count_ == 1) throw ConfigError("config.load", texts_.front());
  std::string all = fmt::format("{} problems:", count_);
  for (const std::string& text : texts_) all += "\n  " + text;
  if (count_ > texts_.size()) all += fmt::format("\n  and {} more", count_ - texts_.size());
  throw ConfigError("config.load", all);
}

}  // namespace krserve
