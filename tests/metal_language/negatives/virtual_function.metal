// Caught: compiler: virtual functions are not supported
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

struct Base {
  virtual float value() { return 1.0f; }
};

KR_KERNEL(bad, 32, Base base; kr_buffer<float>(params, 0)[0] = base.value();)
