// Caught: member: length
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

struct Row {
  uint32_t words;
  uint32_t length() const { return words * 4; }
};

KR_KERNEL(bad, 32, Row row; row.words = self.lane;
          kr_buffer<uint32_t>(params, 0)[0] = row.length();)
