// "Did you mean": the candidate closest to a misspelt word.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace krserve {

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
size_t edit_distance(std::string_view a, std::string_view b);

// Empty when nothing is near (a third of the word wrong, at least two letters).
std::string_view nearest_word(std::string_view word, std::span<const std::string_view> candidates);

// What to say after an unknown key: "did you mean heap_size_mb?", with the full path when it
// belongs to another section, or else the keys that the section has.
std::string key_hint(std::string_view unknown_path);

}  // namespace krserve
