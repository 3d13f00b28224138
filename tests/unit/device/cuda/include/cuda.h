// The part of CUDA's driver API that src/device/cuda names; see cuda_runtime_api.h here.
#pragma once

#include <cstdint>

#define CUDA_VERSION 12080

enum CUresult { CUDA_SUCCESS = 0, CUDA_ERROR_INVALID_VALUE = 1, CUDA_ERROR_UNKNOWN = 999 };
enum CUdevice_attribute { CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS = 122 };
enum { CU_STREAM_WRITE_VALUE_DEFAULT = 0 };

typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef uint64_t cuuint64_t;
typedef struct CUstream_st* CUstream;

enum CUmemcpySrcAccessOrder { CU_MEMCPY_SRC_ACCESS_ORDER_STREAM = 1 };
enum { CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE = 1 };
struct CUmemcpyAttributes {
  CUmemcpySrcAccessOrder srcAccessOrder;
  unsigned int flags;
};
