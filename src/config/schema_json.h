// The table of settings for other programs: what config/schema.json holds.
#pragma once

#include <string>

namespace krserve {

// {"sections": [{path, doc}], "fields": [{path, type, default, doc, environment, ...}]} in the
// order of config/runtime.yaml, one entry a line. `type` is boolean, integer, string or
// integer_list; min and max (inclusive) are there for numbers, choices where only they are allowed,
// max_bytes and single_line for free text, max_items for lists, low_message where a number below
// min has a message of its own, secret where the value is never shown.
std::string schema_json();

}  // namespace krserve
