// Builds without the crates (KRSERVE_CRATES=OFF) have no HTTP client.
#include "hub/fetch.h"

namespace krserve::hub {

std::filesystem::path fetch_model(const ModelId& id, const Progress&) {
  throw_error<HubError>("hub.fetch",
                        "{} is no directory here, and this build cannot download it as a Hugging "
                        "Face id; build with -DKRSERVE_CRATES=ON, or give a directory",
                        id.repository);
}

}  // namespace krserve::hub
