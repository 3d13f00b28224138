// krserve_native._native: the runtime and the engine for Python.
#include <nanobind/nanobind.h>

#include "native/buffer.h"
#include "native/device.h"
#include "native/engine.h"
#include "native/errors.h"
#include "native/generation.h"
#include "native/memory_pool.h"
#include "native/ring.h"
#include "native/rpc.h"
#include "native/settings.h"
#include "native/statistics.h"
#include "native/transfers.h"

NB_MODULE(_native, module) {
  using namespace krserve::python;
  module.doc() = "krserve's memory pool, blit queue, command ring and engine.";
  module.attr("__version__") = KR_VERSION;
  bind_errors(module);
  bind_settings(module);
  bind_statistics(module);
  bind_device(module);
  bind_buffer(module);
  bind_memory_pool(module);
  bind_transfers(module);
  bind_ring(module);
  bind_generation(module);
  bind_engine(module);
  bind_rpc(module);
}
