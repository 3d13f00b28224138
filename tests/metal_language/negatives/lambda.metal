// Caught: lambda: LambdaExpr
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(
    bad, 32, auto twice = [](float value) { return 2.0f * value; };
    kr_buffer<float>(params, 0)[0] = twice(1.0f);)
