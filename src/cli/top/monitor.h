// What krserve top knows about a server that may come and go.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "cli/top/frame.h"
#include "cli/top/snapshot.h"

namespace krserve::cli {

class Monitor {
 public:
  using Time = std::chrono::steady_clock::time_point;

  void answered(Snapshot snapshot);
  // The server gave no answer; the last one is kept for show.
  void failed(std::string why);

  // `last`, `rates`, `error`, `answer_age_s` and `restarted` of a view.
  View view(Time now) const;

 private:
  std::optional<Snapshot> last_;
  Rates rates_;
  std::string error_;
  std::optional<Time> restarted_;  // when the new run was first seen
};

}  // namespace krserve::cli
