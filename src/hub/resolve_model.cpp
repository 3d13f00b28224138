#include "hub/resolve_model.h"

#include "hub/fetch.h"
#include "hub/model_name.h"

namespace krserve::hub {

std::filesystem::path resolve_model(const std::string& model, const Progress& progress) {
  if (auto directory = local_model(model)) return *directory;
  return fetch_model(*parse_model_id(model), progress);
}

}  // namespace krserve::hub
