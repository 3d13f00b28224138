// Caught: compiler: class template argument deduction is incompatible with C++ standards
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

template <class T>
struct Pair {
  T low, high;
};
template <class T>
Pair(T, T) -> Pair<T>;

KR_KERNEL(bad, 32, const Pair pair = {1.0f, 2.0f}; kr_buffer<float>(params, 0)[0] = pair.high;)
