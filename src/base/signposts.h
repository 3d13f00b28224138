// Intervals that the system's own profiler shows beside its tracks: os_signpost, for Instruments.
#pragma once

#include <cstdint>
#include <memory>

namespace krserve {

enum class Signpost : uint8_t { kStep, kUpload, kDownload, kPhase };

// Thread-safe. An interval may begin and end on different threads.
class Signposts {
 public:
  Signposts() = default;
  Signposts(const Signposts&) = delete;
  Signposts& operator=(const Signposts&) = delete;
  virtual ~Signposts() = default;

  // Whether a profiler records them now; cheap.
  virtual bool listening() const = 0;
  // `id`: not 0, and of no other interval of the kind that is open. `what` is a string literal.
  virtual void begin(Signpost kind, uint64_t id, const char* what) = 0;
  virtual void end(Signpost kind, uint64_t id) = 0;
};

// Null where the system has none.
std::shared_ptr<Signposts> system_signposts();

}  // namespace krserve
