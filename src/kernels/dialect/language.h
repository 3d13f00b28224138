// What headers that the host and the kernels share need of their language: sized integers, and
// KR_CONST for constants at namespace scope.
#pragma once

#if defined(__METAL_VERSION__)
#pragma clang diagnostic ignored "-Wunused-const-variable"
// A product and a sum are rounded apart, as by the other compilers; math mode "safe" joins them.
#pragma STDC FP_CONTRACT OFF
#if defined(__METAL__)  // not for the model
#pragma METAL fp contract(off)
#endif
#include <metal_stdlib>
// Metal's headers do not say which of their types are global.
using namespace metal;
#define KR_CONST constant constexpr
#else
#include <cstdint>
#define KR_CONST inline constexpr
#endif
