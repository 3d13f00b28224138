// In the place of signposts_apple.cpp elsewhere.
#include "base/signposts.h"

namespace krserve {

std::shared_ptr<Signposts> system_signposts() {
  return nullptr;
}

}  // namespace krserve
