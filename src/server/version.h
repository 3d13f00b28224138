// The program's version as clients see it.
#pragma once

namespace krserve::server {

inline constexpr char kVersion[] = KR_VERSION;
inline constexpr char kSystemFingerprint[] = "krserve-" KR_VERSION;

}  // namespace krserve::server
