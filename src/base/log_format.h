// How a log line looks: "2026-01-31T12:00:00.000 [WARN] text".
#pragma once

#include <spdlog/formatter.h>

#include <memory>

namespace krserve {

std::unique_ptr<spdlog::formatter> log_formatter();

}  // namespace krserve
