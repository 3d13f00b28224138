// Names what was under way when a signal ends the process: Metal's own checks end it with abort().
#pragma once

#include <string>

namespace krserve::selftest {

// From now on, for all of the process. To standard output, which the report goes to.
void install_crash_note();
void set_crash_note(const std::string& what);

}  // namespace krserve::selftest
