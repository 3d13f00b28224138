// Random names for requests and replies.
#pragma once

#include <string>

namespace krserve::server {

// `bytes` random bytes as hexadecimal digits; seeded by the system.
std::string random_hex(int bytes);

}  // namespace krserve::server
