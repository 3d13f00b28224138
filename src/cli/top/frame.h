// From readings to the lines that krserve top shows; no terminal here.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/top/rates.h"
#include "cli/top/snapshot.h"

namespace krserve::cli {

enum class Style { kPlain, kTitle, kDim, kGood, kFair, kWarning, kCritical };

struct Span {
  std::string text;
  Style style = Style::kPlain;
};
using Line = std::vector<Span>;

// Everything one frame shows.
struct View {
  std::string url;
  std::string clock;  // time of day
  double interval_s = 1;
  std::optional<Snapshot> last;
  Rates rates;
  std::string error;         // why the last question got no answer; empty: it did
  double answer_age_s = 0;   // of `last`
  bool restarted = false;    // `last` is the first of a new run
  bool interactive = false;  // says which keys there are
};

struct FrameSize {
  size_t rows = 24;
  size_t columns = 80;
};

// At most `rows` lines, none wider than `columns`; what matters least goes first.
std::vector<Line> make_frame(const View& view, FrameSize size);

// Line without its styles.
std::string plain_text(const Line& line);
// Line with ANSI colours (ECMA-48 SGR); without, if `colour` is false.
std::string terminal_text(const Line& line, bool colour);

// 0..1 as "[####------]".
std::string bar(double fraction, size_t cells);
// "0.0", "12.3", "512", "12.3k", "4.5M".
std::string short_number(double value);

}  // namespace krserve::cli
