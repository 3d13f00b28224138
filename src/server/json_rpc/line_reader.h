// Cuts a stream of bytes into lines, holding no more of one than the limit.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace krserve::server::rpc {

class LineReader {
 public:
  struct Line {
    std::string text;          // without its line break
    size_t skipped_bytes = 0;  // not 0: the line was longer than the limit; its length, text empty
  };

  explicit LineReader(size_t limit_bytes) : limit_bytes_(limit_bytes) {}

  // From the next byte on; a line that was too long before stays skipped.
  void set_limit(size_t limit_bytes) { limit_bytes_ = limit_bytes; }
  void add(std::string_view bytes);
  // The stream has ended; what stands after the last line break is a line too.
  void finish();
  // The oldest complete line that has not been taken.
  std::optional<Line> next();

 private:
  void end_line();

  size_t limit_bytes_;
  std::string text_;
  size_t length_ = 0;
  bool too_long_ = false;
  std::deque<Line> lines_;
};

}  // namespace krserve::server::rpc
