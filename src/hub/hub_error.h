// A model that cannot be had from the hub: the network, the token, the disk, or no such model.
#pragma once

#include "base/error.h"

namespace krserve {

class HubError : public ModelError {
  using ModelError::ModelError;
};

}  // namespace krserve
