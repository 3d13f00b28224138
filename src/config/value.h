// From the text of a value to the typed member it sets, and back.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/schema.h"

namespace krserve {

// Longer values are refused.
inline constexpr size_t kMaxTextBytes = 4096;
inline constexpr size_t kMaxListItems = 64;

// A value as its source spelled it, before its type is known.
struct RawValue {
  enum class Shape { kNull, kScalar, kList, kSection };
  Shape shape = Shape::kScalar;
  std::vector<std::string> items;  // one for a scalar
  bool quoted = false;             // 'text' in YAML: never a number or a truth value
};

// "80", "true", "f16", and for a list "32,128" or "[32, 128]".
RawValue raw_from_text(const Field& field, std::string_view text);

// Sets the member, or leaves it alone and returns what is wrong: `"abc": expected an integer
// in 1..8`.
std::optional<std::string> assign(const Field& field, RuntimeConfig& config, const RawValue& raw);

// As YAML writes it: 80, true, 'f16', [32, 128, 512].
std::string value_text(const Field& field, const RuntimeConfig& config);

}  // namespace krserve
