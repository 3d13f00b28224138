#include "cli/top/frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/units.h"

namespace krserve::cli {
namespace {

using engine::Grade;

constexpr size_t kLabel = 13;  // columns of the first word of a line

// What goes first when the terminal is low.
enum class Weight { kBlank, kDetail, kMain, kAlways };

struct WeightedLine {
  Weight weight;
  Line line;
};
using Page = std::vector<WeightedLine>;

Style style_of(Grade grade) {
  switch (grade) {
    case Grade::kOnTarget:
      return Style::kGood;
    case Grade::kAcceptable:
      return Style::kFair;
    case Grade::kWarning:
      return Style::kWarning;
    case Grade::kCritical:
      return Style::kCritical;
    case Grade::kNoData:
      break;
  }
  return Style::kDim;
}

std::string bytes_text(double bytes) {
  return format_bytes(static_cast<uint64_t>(std::max(0.0, bytes)));
}

std::string duration_text(double seconds) {
  const auto s = static_cast<uint64_t>(std::max(0.0, seconds));
  const std::string clock = fmt::format("{}:{:02}:{:02}", s / 3600 % 24, s / 60 % 60, s % 60);
  return s < 86400 ? clock : fmt::format("{} d {}", s / 86400, clock);
}

std::string ms_text(const std::optional<double>& ms) {
  return ms ? fmt::format("{:.3g} ms", *ms) : "-";
}

Span label(std::string_view text) {
  return {fmt::format("{:<{}}", text, kLabel), Style::kTitle};
}

Span percent_bar(double fraction, size_t cells) {
  return {fmt::format("{} {:3.0f} %", bar(fraction, cells), std::clamp(fraction, 0.0, 1.0) * 100)};
}

Span count(std::string_view what, double value, Style when_not_zero = Style::kPlain) {
  return {fmt::format("  {} {}", what, short_number(value)),
          value > 0 ? when_not_zero : Style::kPlain};
}

Span on_off(bool enabled) {
  return enabled ? Span{"on   ", Style::kGood} : Span{"off  ", Style::kDim};
}

void add_header(const View& view, Page& page) {
  Line line = {{"krserve top", Style::kTitle}, {fmt::format("  {}", view.url)}};
  if (view.last) {
    const bool well = view.last->health == "ok";
    line.push_back({fmt::format("  {}", view.last->model), Style::kTitle});
    line.push_back(
        {fmt::format("  {}", view.last->health), well ? Style::kGood : Style::kCritical});
    line.push_back({fmt::format("  up {}", duration_text(view.last->uptime_s))});
  }
  line.push_back({fmt::format("  {}", view.clock), Style::kDim});
  page.push_back({Weight::kAlways, std::move(line)});
}

void add_notice(const View& view, Page& page) {
  if (!view.error.empty()) {
    page.push_back({Weight::kAlways, {{view.error, Style::kCritical}}});
    const std::string kept =
        view.last ? fmt::format("below: the last answer, {:.0f} s old; ", view.answer_age_s) : "";
    page.push_back(
        {Weight::kMain,
         {{fmt::format("{}asking again every {:g} s", kept, view.interval_s), Style::kDim}}});
  } else if (view.restarted) {
    page.push_back({Weight::kAlways,
                    {{fmt::format("the server was started again (process {}): its counters are new",
                                  view.last->pid),
                      Style::kWarning}}});
  }
}

void add_requests(const Snapshot& s, const Rates& r, Page& page) {
  const RequestReading& q = s.requests;
  page.push_back({Weight::kMain,
                  {label("requests"),
                   {fmt::format("running {}", short_number(q.running))},
                   count("waiting", q.waiting, Style::kWarning),
                   count("completed", q.completed),
                   {fmt::format(" ({}/s)", short_number(r.completed))},
                   count("cancelled", q.cancelled),
                   count("failed", q.failed, Style::kCritical)}});
  page.push_back(
      {Weight::kMain,
       {label("tokens"),
        {fmt::format("{}/s generated  {}/s prompt  {} steps/s", short_number(r.generated_tokens),
                     short_number(r.prompt_tokens), short_number(r.steps))}}});
  page.push_back(
      {Weight::kDetail,
       {label("latency"),
        {fmt::format("first token {}  between tokens {}  in queue {}", ms_text(r.ttft_ms),
                     ms_text(r.inter_token_ms), ms_text(r.queue_ms))}}});
}

void add_machine(const Snapshot& s, const Rates& r, Page& page) {
  const double used = s.kv_pages > 0 ? s.kv_pages_used / s.kv_pages : 0;
  page.push_back(
      {Weight::kMain,
       {label("KV cache"),
        percent_bar(used, 20),
        {fmt::format("  {} of {} pages", short_number(s.kv_pages_used), short_number(s.kv_pages))},
        count("preemptions", s.requests.preemptions, Style::kWarning)}});
  page.push_back({Weight::kMain,
                  {label("device"),
                   percent_bar(r.device_busy, 20),
                   {fmt::format("  busy  {:.1f} cores  {} resident", r.cpu_cores,
                                bytes_text(s.resident_bytes))}}});
}

void add_pool(const PoolReading& p, const Rates& r, Page& page) {
  page.push_back({Weight::kMain,
                  {label("memory pool"),
                   on_off(p.enabled),
                   percent_bar(p.utilization, 10),
                   {fmt::format("  {} in {} of {} heaps, {}", bytes_text(p.live_bytes),
                                short_number(p.active_heaps), short_number(p.heaps),
                                bytes_text(p.heap_bytes))}}});
  page.push_back({Weight::kDetail,
                  {label(""),
                   {fmt::format("{}/s allocations", short_number(r.allocations))},
                   {fmt::format("  {}/s on demand", short_number(r.fallbacks)),
                    p.enabled && r.fallbacks > 0 ? Style::kWarning : Style::kPlain},
                   {fmt::format(" ({})  largest free {}", bytes_text(p.on_demand_bytes),
                                bytes_text(p.largest_free_bytes))}}});
}

void add_blit(const BlitReading& b, const Rates& r, Page& page) {
  page.push_back({Weight::kMain,
                  {label("blit queue"),
                   on_off(b.enabled),
                   {fmt::format("up {}/s {}/s  down {}/s {}/s", short_number(r.uploads),
                                bytes_text(r.upload_bytes), short_number(r.downloads),
                                bytes_text(r.download_bytes))}}});
  page.push_back(
      {Weight::kDetail,
       {label(""),
        {fmt::format("depth {} (most {})  no copy {}/s  {} waits/s  {} stalls/s",
                     short_number(b.depth), short_number(b.peak_depth), short_number(r.no_copy),
                     short_number(r.sync_waits), short_number(r.stalls))},
        count("failed", b.failed, Style::kCritical)}});
}

void add_ring(const RingReading& g, const Rates& r, Page& page) {
  page.push_back({Weight::kMain,
                  {label("command ring"),
                   on_off(g.enabled),
                   {fmt::format("{} slots  {} steps/s  {} found it full/s", short_number(g.slots),
                                short_number(r.acquisitions), short_number(r.waits))}}});
  page.push_back({Weight::kDetail,
                  {label(""),
                   {fmt::format("gap {:.3g} us (p99 {:.3g} us)  {} recordings", g.gap_p50_us,
                                g.gap_p99_us, short_number(g.recordings))},
                   count("time-outs", g.timeouts, Style::kCritical),
                   count("rebuilds", g.rebuilds, Style::kCritical)}});
}

struct RowName {
  std::string_view metric;
  std::string_view shown;
};

// The seed document's names.
constexpr std::array<RowName, 6> kRowNames = {{{"hit_rate", "Memory Pool Hit Rate"},
                                               {"overlap_ratio", "Blit Overlap Ratio"},
                                               {"reuse_rate", "Command Ring Reuse"},
                                               {"exhaustion_count", "Pool Exhaustion"},
                                               {"queue_depth", "Blit Queue Depth"},
                                               {"avg_wait_ms", "Ring Wait Time"}}};

size_t order_of(const std::string& metric) {
  const auto it = std::ranges::find(kRowNames, metric, &RowName::metric);
  return static_cast<size_t>(it - kRowNames.begin());
}

bool is_share(const GradedReading& m) {
  return m.unit.empty() && m.higher_is_better;
}

std::string value_text(const GradedReading& m, const std::optional<double>& value) {
  if (!value) return "-";
  if (is_share(m)) return fmt::format("{:.1f} %", *value * 100);
  return fmt::format("{:.3g}{}{}", *value, m.unit.empty() || m.unit.starts_with('1') ? "" : " ",
                     m.unit.starts_with('1') ? m.unit.substr(1) : m.unit);
}

std::string limit_text(const GradedReading& m, double limit, bool target) {
  if (target && !m.higher_is_better && limit == 0) return "0";
  const char sign = m.higher_is_better == target ? '>' : '<';
  return is_share(m) ? fmt::format("{}{:g} %", sign, limit * 100)
                     : fmt::format("{}{:g}", sign, limit);
}

Line table_row(const GradedReading& m, const View& view) {
  const GradedRow row = grade_row(m, view.rates, *view.last);
  const size_t place = order_of(m.metric);
  const std::string_view shown = place < kRowNames.size() ? kRowNames[place].shown : m.metric;
  // Bursts of the interval are a count, the rest of the row is by the hour.
  const std::string now = m.metric == "exhaustion_count" && row.now
                              ? fmt::format("+{:.0f}", *row.now)
                              : value_text(m, row.now);
  return {{fmt::format("{:<20}{:>9}{:>12} {:>8}{:>9}{:>9}  ", shown, now,
                       value_text(m, row.since_start), limit_text(m, m.target, true),
                       limit_text(m, m.warning, false), limit_text(m, m.critical, false))},
          {std::string(engine::to_string(row.grade)), style_of(row.grade)}};
}

void add_table(const View& view, Page& page) {
  page.push_back({Weight::kMain,
                  {{fmt::format("{:<20}{:>9}{:>12} {:>8}{:>9}{:>9}  {}", "metric", "now",
                                "since start", "target", "warning", "critical", "grade"),
                    Style::kTitle}}});
  std::vector<const GradedReading*> rows;
  for (const GradedReading& m : view.last->graded) rows.push_back(&m);
  std::ranges::stable_sort(rows, {}, [](const GradedReading* m) { return order_of(m->metric); });
  for (const GradedReading* m : rows) page.push_back({Weight::kMain, table_row(*m, view)});
}

// The remedies of what is at warning or worse; as many as there is room for.
void add_remedies(const View& view, Page& page) {
  for (const GradedReading& m : view.last->graded) {
    const Grade grade = grade_row(m, view.rates, *view.last).grade;
    if (grade < Grade::kWarning || m.remedy.empty()) continue;
    page.push_back({Weight::kDetail, {{m.metric + ": " + m.remedy, style_of(grade)}}});
  }
}

void add_keys(const View& view, Page& page) {
  if (!view.interactive) return;
  page.push_back(
      {Weight::kDetail,
       {{fmt::format("every {:g} s   q: quit   space: now", view.interval_s), Style::kDim}}});
}

// Drops lines of the least weight, the lowest first, until the rest fits.
std::vector<Line> fit(Page page, size_t rows) {
  for (const Weight weight : {Weight::kBlank, Weight::kDetail, Weight::kMain, Weight::kAlways}) {
    for (size_t i = page.size(); i-- > 0 && page.size() > rows;) {
      if (page[i].weight == weight) page.erase(page.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  std::vector<Line> out;
  for (WeightedLine& line : page) out.push_back(std::move(line.line));
  return out;
}

bool continues_code_point(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80;
}

// One column for each code point; control characters, which a terminal would obey, become '?'.
std::string printable(std::string_view text, size_t& columns) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    size_t end = i + 1;
    while (end < text.size() && continues_code_point(text[end])) ++end;
    if (columns == 0) break;
    --columns;
    const std::string_view point = text.substr(i, end - i);
    const auto byte = static_cast<unsigned char>(point[0]);
    const bool c1 =
        byte == 0xC2 && point.size() == 2 && static_cast<unsigned char>(point[1]) < 0xA0;
    if (byte < 0x20 || byte == 0x7F || c1) {
      out += '?';
    } else {
      out += point;
    }
    i = end;
  }
  return out;
}

Line clip(const Line& line, size_t columns) {
  Line out;
  for (const Span& span : line) out.push_back({printable(span.text, columns), span.style});
  return out;
}

const char* sgr(Style style) {
  switch (style) {
    case Style::kTitle:
      return "\033[1m";
    case Style::kDim:
      return "\033[2m";
    case Style::kGood:
      return "\033[32m";
    case Style::kFair:
      return "\033[36m";
    case Style::kWarning:
      return "\033[33m";
    case Style::kCritical:
      return "\033[1;31m";
    case Style::kPlain:
      break;
  }
  return "";
}

}  // namespace

std::vector<Line> make_frame(const View& view, FrameSize size) {
  Page page;
  add_header(view, page);
  add_notice(view, page);
  if (view.last) {
    add_requests(*view.last, view.rates, page);
    add_machine(*view.last, view.rates, page);
    page.push_back({Weight::kBlank, {}});
    add_pool(view.last->pool, view.rates, page);
    add_blit(view.last->blit, view.rates, page);
    add_ring(view.last->ring, view.rates, page);
    page.push_back({Weight::kBlank, {}});
    add_table(view, page);
    add_remedies(view, page);
  }
  add_keys(view, page);
  std::vector<Line> lines = fit(std::move(page), size.rows);
  for (Line& line : lines) line = clip(line, size.columns);
  return lines;
}

std::string plain_text(const Line& line) {
  std::string out;
  for (const Span& span : line) out += span.text;
  out.erase(out.find_last_not_of(' ') + 1);
  return out;
}

std::string terminal_text(const Line& line, bool colour) {
  if (!colour) return plain_text(line);
  std::string out;
  for (const Span& span : line) {
    const std::string_view start = sgr(span.style);
    out += start;
    out += span.text;
    if (!start.empty()) out += "\033[0m";
  }
  return out;
}

std::string bar(double fraction, size_t cells) {
  const auto filled =
      static_cast<size_t>(std::lround(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(cells)));
  return fmt::format("[{}{}]", std::string(filled, '#'), std::string(cells - filled, '-'));
}

std::string short_number(double value) {
  constexpr std::array<const char*, 5> kUnits = {"", "k", "M", "G", "T"};
  size_t unit = 0;
  while (std::fabs(value) >= 9999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  const bool whole = (unit == 0 && value == std::floor(value)) || std::fabs(value) >= 999.5;
  return fmt::format("{:.{}f}{}", value, whole ? 0 : 1, kUnits[unit]);
}

}  // namespace krserve::cli
