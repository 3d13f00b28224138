#include "server/json_rpc/line_reader.h"

#include <utility>

namespace krserve::server::rpc {

void LineReader::add(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t line_break = bytes.find('\n');
    const std::string_view piece = bytes.substr(0, line_break);
    length_ += piece.size();
    if (length_ > limit_bytes_ && !too_long_) {
      too_long_ = true;
      text_ = std::string();  // gives its memory back
    }
    if (!too_long_) text_ += piece;
    if (line_break == std::string_view::npos) return;
    end_line();
    bytes.remove_prefix(line_break + 1);
  }
}

void LineReader::finish() {
  if (length_ > 0) end_line();
}

std::optional<LineReader::Line> LineReader::next() {
  if (lines_.empty()) return std::nullopt;
  Line line = std::move(lines_.front());
  lines_.pop_front();
  return line;
}

void LineReader::end_line() {
  lines_.push_back({std::exchange(text_, {}), too_long_ ? length_ : 0});
  length_ = 0;
  too_long_ = false;
}

}  // namespace krserve::server::rpc
