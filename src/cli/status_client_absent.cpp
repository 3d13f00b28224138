// krserve's requests to a server in a build without one (KRSERVE_SERVER=OFF): there are none.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/status_client.h"

namespace krserve::cli {

nlohmann::json fetch_status(const std::string&, const std::string&, std::chrono::milliseconds,
                            const std::function<bool()>&) {
  throw UsageError("status.get",
                   "this build has no HTTP and does not ask a server; leave out --server, or build "
                   "with -DKRSERVE_SERVER=ON");
}

}  // namespace krserve::cli
