// Copies and fills of any length and alignment, for back ends whose own commands take whole words.
// Not ops: a command buffer's copy() and fill().
#pragma once

#include "kernels/single_source/common.h"

namespace krserve::kernels::single_source {

// Grid: pieces of kCopyPiece bytes. A piece's words of type T, then the bytes that are left.
template <class T>
KR_FN void copy_words(KR_THREAD const KrThread& self, KR_DEVICE uint8_t* to,
                      KR_DEVICE const uint8_t* from, uint32_t bytes) {
  KR_DEVICE T* words = reinterpret_cast<KR_DEVICE T*>(to);
  KR_DEVICE const T* source = reinterpret_cast<KR_DEVICE const T*>(from);
  const uint32_t size = static_cast<uint32_t>(sizeof(T)), count = bytes / size;
  for (uint32_t i = self.index; i < count; i += self.count) words[i] = source[i];
  for (uint32_t i = count * size + self.index; i < bytes; i += self.count) to[i] = from[i];
}

KR_FN void copy_bytes_body(KR_CONSTANT const DialectParams& params,
                           KR_THREAD const KrThread& self) {
  KR_CONSTANT const CopyBytesArgs& args = kr_args<CopyBytesArgs>(params);
  const uint64_t begin = static_cast<uint64_t>(self.group_x) * kCopyPiece;
  const uint64_t left = args.bytes - begin;
  const uint32_t bytes = left < kCopyPiece ? static_cast<uint32_t>(left) : kCopyPiece;
  KR_DEVICE uint8_t* to = kr_buffer<uint8_t>(params, 0) + begin;
  KR_DEVICE const uint8_t* from = kr_buffer<const uint8_t>(params, 1) + begin;
  const uint64_t both = kr_address(to) | kr_address(from);
  if (both % sizeof(kr_uint4) == 0) {
    copy_words<kr_uint4>(self, to, from, bytes);
  } else if (both % sizeof(uint32_t) == 0) {
    copy_words<uint32_t>(self, to, from, bytes);
  } else {
    copy_words<uint8_t>(self, to, from, bytes);
  }
}

KR_FN void fill_bytes_body(KR_CONSTANT const DialectParams& params,
                           KR_THREAD const KrThread& self) {
  KR_CONSTANT const CopyBytesArgs& args = kr_args<CopyBytesArgs>(params);
  const uint64_t begin = static_cast<uint64_t>(self.group_x) * kCopyPiece;
  const uint64_t left = args.bytes - begin;
  const uint32_t bytes = left < kCopyPiece ? static_cast<uint32_t>(left) : kCopyPiece;
  KR_DEVICE uint8_t* to = kr_buffer<uint8_t>(params, 0) + begin;
  const uint32_t words = kr_address(to) % sizeof(uint32_t) == 0 ? bytes / 4 : 0;
  KR_DEVICE uint32_t* whole = reinterpret_cast<KR_DEVICE uint32_t*>(to);
  for (uint32_t i = self.index; i < words; i += self.count) whole[i] = args.value;
  for (uint32_t i = words * 4 + self.index; i < bytes; i += self.count) {
    to[i] = static_cast<uint8_t>(args.value);
  }
}

}  // namespace krserve::kernels::single_source
