// Caught: memory: bad takes 32772 bytes
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, KR_SHARED(float, first, 8192); KR_SHARED(uint32_t, second, 1);
          first[self.lane] = 0.0f; second[0] = 1;
          kr_buffer<float>(params, 0)[0] = first[second[0]];)
