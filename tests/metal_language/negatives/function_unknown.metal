// Caught: compiler: no member named 'thread_scope_system' in namespace 'metal'
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32,
          metal::atomic_thread_fence(metal::mem_flags::mem_device, metal::memory_order_seq_cst,
                                     metal::thread_scope_system);)
