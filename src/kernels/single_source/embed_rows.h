// embed_rows: a threadgroup per row.
#pragma once

#include "kernels/ops/embed_rows.h"
#include "kernels/single_source/weights.h"

namespace krserve::kernels::single_source {

template <class Matrix>
KR_FN void embed_row(KR_CONSTANT const DialectParams& params, KR_THREAD const KrThread& self,
                     KR_CONSTANT const ops::WeightArgs& weight, uint32_t token) {
  Matrix matrix;
  open_matrix(matrix, params, 1, weight.k, kr_launch_value(params, 0));
  KR_DEVICE float* x = kr_buffer<float>(params, 5) + static_cast<uint64_t>(self.group_x) * weight.k;
  for (uint32_t at = self.index * kPiece; at < weight.k; at += self.count * kPiece) {
    float values[kPiece];
    load_weights(values, matrix, token, at);
    for (uint32_t i = 0; i < kr_min(kPiece, weight.k - at); ++i) x[at + i] = values[i];
  }
}

template <uint32_t kBits>
KR_FN void embed_quantized_row(KR_CONSTANT const DialectParams& params,
                               KR_THREAD const KrThread& self,
                               KR_CONSTANT const ops::WeightArgs& weight, uint32_t token) {
  if (weight.scale_type == FloatType::kF32) {
    embed_row<QuantizedMatrix<kBits, float>>(params, self, weight, token);
  } else if (weight.scale_type == FloatType::kF16) {
    embed_row<QuantizedMatrix<kBits, kr_half>>(params, self, weight, token);
  } else {
    embed_row<QuantizedMatrix<kBits, kr_bfloat>>(params, self, weight, token);
  }
}

KR_FN void embed_rows_body(KR_CONSTANT const DialectParams& params,
                           KR_THREAD const KrThread& self) {
  KR_CONSTANT const ops::EmbedRowsArgs& args = kr_args<ops::EmbedRowsArgs>(params);
  if (self.group_x >= step_header(params).num_rows) return;
  KR_DEVICE const ops::StepRow& row = step_rows(params, args.layout.rows_offset)[self.group_x];
  int32_t token = row.token;
  if (token == ops::kTokenFromSlot) token = kr_buffer<const int32_t>(params, 4)[row.slot];
  if (token < 0 || static_cast<uint32_t>(token) >= args.weight.n) token = 0;
  const uint32_t index = static_cast<uint32_t>(token);
  if (args.weight.format == WeightFormat::kF32) {
    embed_row<FloatMatrix<float>>(params, self, args.weight, index);
  } else if (args.weight.format == WeightFormat::kF16) {
    embed_row<FloatMatrix<kr_half>>(params, self, args.weight, index);
  } else if (args.weight.format == WeightFormat::kBF16) {
    embed_row<FloatMatrix<kr_bfloat>>(params, self, args.weight, index);
  } else if (args.weight.format == WeightFormat::kQ4) {
    embed_quantized_row<4>(params, self, args.weight, index);
  } else {
    embed_quantized_row<8>(params, self, args.weight, index);
  }
}

}  // namespace krserve::kernels::single_source
