// While it lives, timed waits of the calling thread end when they should and not 50 us later.
#pragma once

#if defined(__linux__)
#include <sys/prctl.h>
#endif

namespace krserve {

class ShortNaps {
 public:
  ShortNaps() = default;
  ShortNaps(const ShortNaps&) = delete;
  ShortNaps& operator=(const ShortNaps&) = delete;

#if defined(__linux__)
  ~ShortNaps() {
    if (slack_ns_ > 0) prctl(PR_SET_TIMERSLACK, slack_ns_, 0, 0, 0);
  }
  // From here on; free when called again.
  void begin() {
    if (slack_ns_ >= 0) return;
    slack_ns_ = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    if (slack_ns_ > 0) prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
  }

 private:
  int slack_ns_ = -1;
#else
  void begin() {}
#endif
};

}  // namespace krserve
