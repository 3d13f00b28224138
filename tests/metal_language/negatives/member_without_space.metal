// Caught: space: values
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

struct Row {
  const float* values;
};

KR_KERNEL(bad, 32, Row row; row.values = kr_buffer<float>(params, 0);
          kr_buffer<float>(params, 1)[0] = row.values[0];)
