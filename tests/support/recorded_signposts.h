// In the place of the system's profiler: keeps what it is told, and what does not pair up.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/signposts.h"

namespace krserve::test {

class RecordedSignposts final : public Signposts {
 public:
  explicit RecordedSignposts(bool listening = true) : listening_(listening) {}

  bool listening() const override {
    const std::lock_guard lock(mutex_);
    return listening_;
  }
  void listen(bool on) {
    const std::lock_guard lock(mutex_);
    listening_ = on;
  }

  void begin(Signpost kind, uint64_t id, const char* what) override {
    const std::lock_guard lock(mutex_);
    if (id == 0 || !open_.emplace(kind, id).second) wrong_.push_back(std::string("begin ") + what);
    ++begun_[{kind, what}];
  }
  void end(Signpost kind, uint64_t id) override {
    const std::lock_guard lock(mutex_);
    if (open_.erase({kind, id}) == 0) wrong_.push_back("end " + std::to_string(id));
  }

  uint64_t begun(Signpost kind, const std::string& what) const {
    const std::lock_guard lock(mutex_);
    const auto it = begun_.find({kind, what});
    return it == begun_.end() ? 0 : it->second;
  }
  uint64_t begun() const {
    const std::lock_guard lock(mutex_);
    uint64_t sum = 0;
    for (const auto& [key, count] : begun_) sum += count;
    return sum;
  }
  size_t open() const {
    const std::lock_guard lock(mutex_);
    return open_.size();
  }
  // Ids begun twice or 0, ends without a begin.
  std::vector<std::string> wrong() const {
    const std::lock_guard lock(mutex_);
    return wrong_;
  }

 private:
  mutable std::mutex mutex_;
  bool listening_;
  std::set<std::pair<Signpost, uint64_t>> open_;
  std::map<std::pair<Signpost, std::string>, uint64_t> begun_;
  std::vector<std::string> wrong_;
};

}  // namespace krserve::test
