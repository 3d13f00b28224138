#include "base/machine.h"

#include <charconv>

namespace krserve {

SystemVersion parse_system_version(std::string_view text) {
  SystemVersion version;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto [dot, error] = std::from_chars(begin, end, version.major);
  if (error == std::errc{} && dot != end && *dot == '.') {
    std::from_chars(dot + 1, end, version.minor);
  }
  return version;
}

}  // namespace krserve
