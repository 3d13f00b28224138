// Caught: compiler: cannot use 'throw' with exceptions disabled
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, if (self.lane > 32) throw 1;)
