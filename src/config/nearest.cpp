#include "config/nearest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <numeric>
#include <vector>

#include "config/schema.h"

namespace krserve {
namespace {

// No key is longer; a distance beyond this never matters, and the table stays small.
constexpr size_t kLongestWord = 96;

size_t tolerance(std::string_view word) {
  return std::max<size_t>(2, word.size() / 3);
}

// heapSizeMb, HEAP-SIZE-MB and heap_size_mb differ in spelling only.
std::string folded(std::string_view word) {
  std::string out;
  for (const char c : word) {
    if (c == '-') {
      out += '_';
      continue;
    }
    const bool hump = std::isupper(static_cast<unsigned char>(c)) != 0 && !out.empty() &&
                      std::islower(static_cast<unsigned char>(out.back())) != 0;
    if (hump) out += '_';
    out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

std::vector<std::string_view> all_paths() {
  std::vector<std::string_view> paths;
  for (const Section& section : config_sections()) paths.push_back(section.path);
  for (const Field& field : config_fields()) paths.push_back(field.path);
  return paths;
}

}  // namespace

size_t edit_distance(std::string_view a, std::string_view b) {
  a = a.substr(0, kLongestWord);
  b = b.substr(0, kLongestWord);
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string_view nearest_word(std::string_view word, std::span<const std::string_view> candidates) {
  const std::string plain = folded(word);
  std::string_view best;
  size_t best_distance = tolerance(word) + 1;
  for (const std::string_view candidate : candidates) {
    // A missing or superfluous unit is the likeliest slip: timeout for timeout_ms.
    const bool same_stem =
        candidate.starts_with(plain + "_") || plain.starts_with(std::string(candidate) + "_");
    const size_t distance = same_stem ? 1 : edit_distance(plain, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string key_hint(std::string_view unknown_path) {
  const std::vector<std::string_view> siblings = keys_of(parent_path(unknown_path));
  const std::vector<std::string_view> paths = all_paths();
  const std::string leaf = folded(leaf_name(unknown_path));
  const bool sibling_spelt_otherwise = std::ranges::find(siblings, leaf) != siblings.end();
  if (!sibling_spelt_otherwise) {
    for (const std::string_view path : paths) {  // the right key in the wrong section
      if (leaf_name(path) == leaf) return fmt::format("did you mean {}?", path);
    }
  }
  const std::string_view sibling = nearest_word(leaf, siblings);
  if (!sibling.empty()) return fmt::format("did you mean {}?", sibling);
  const std::string_view path = nearest_word(unknown_path, paths);
  if (!path.empty()) return fmt::format("did you mean {}?", path);
  return siblings.empty() ? fmt::format("the sections are {}", fmt::join(keys_of(""), ", "))
                          : fmt::format("the keys here are {}", fmt::join(siblings, ", "));
}

}  // namespace krserve
