#include "device/metal/metal_port.h"

namespace krserve {

std::unique_ptr<MetalPort> MetalPort::make(const std::shared_ptr<MetalContext>& context) {
  const metal::AutoreleaseScope scope;
  return context->facts.metal4 ? make_metal4_port(context) : make_metal3_port(context);
}

}  // namespace krserve
