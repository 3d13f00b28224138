#include "base/error.h"

namespace krserve {

Error::Error(std::string_view where, std::string_view what)
    : std::runtime_error(fmt::format("[{}] {}", where, what)), where_(where) {}

}  // namespace krserve
