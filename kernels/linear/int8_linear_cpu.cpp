// SPDX-License-Identifier: Apache-2.0
// Library   oneDNN's product of bytes, 0 to 255 by -128 to 127, which is what VPDPBUSD multiplies: q
//           goes in as q + 128, and 128 sum_i p[o,i], kept with the weights, comes off again.
// Threads   Pieces of rows. What a piece makes on the way stays in the second-level cache: bytes,
//           sums, and in an MLP the hidden layer.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/int8_linear_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <cstdint>

#include "kernels/gemm/int8_rows-inl.h"
#include "kernels/linear/gelu-inl.h"
#include "kernels/linear/int8_linear.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

void finish_gelu(const std::int32_t* sums, std::int64_t rows, std::int64_t n,
                 const float* row_scales, const Int8Layer& layer, const float* bias, float* y) {
  finish_rows(sums, rows, n, row_scales, layer, bias, y,
              [](auto v) HWY_ATTR { return gelu(kFloats, v); });
}

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

#include "kernels/gemm/int8_pieces.h"

namespace hh::cpu {
namespace {

HWY_EXPORT(quantise);
HWY_EXPORT(finish_plain);
HWY_EXPORT(finish_gelu);

}  // namespace

std::size_t int8_packed_bytes(int in, int out) {
  return Int8Layer(static_cast<void*>(nullptr), out).bytes_before_weights +
         onednn::packed_int8_bytes(in, out);
}

std::size_t workspace_bytes(const Int8Pack& p) {
  p.validate();
  return std::size_t(p.in) * std::size_t(p.out);
}

void run(const Int8Pack& p) {
  p.validate();
  const Int8Layer layer(p.packed, p.out);
  auto* const q = static_cast<std::uint8_t*>(p.workspace);
  HWY_DYNAMIC_DISPATCH(quantise)(p.weight, p.out, p.in, q, layer.scales);
  for (std::int64_t o = 0; o < p.out; ++o) {
    std::int32_t sum = 0;
    for (std::uint8_t* b = q + o * p.in; b != q + (o + 1) * p.in; ++b) {
      sum += *b - 128;
      *b = std::uint8_t(*b - 128);  // the bits of the signed byte
    }
    layer.corrections[o] = 128 * sum;
  }
  onednn::pack_int8(reinterpret_cast<const std::int8_t*>(q), p.in, p.out, layer.weights);
}

std::size_t workspace_bytes(const Int8LinearForward& p) {
  p.validate();
  if (p.rows == 0) return 0;
  const RowPieces pieces(p.rows, p.out);
  const PieceProduct product(pieces, p.in, p.out);
  return workers_of(pieces) * piece_bytes(pieces, p.in, 0, product.scratch_bytes());
}

void run(const Int8LinearForward& p) {
  p.validate();
  if (p.rows == 0) return;
  const Int8Layer layer(p.packed, p.out);
  const RowPieces pieces(p.rows, p.out);
  const PieceProduct product(pieces, p.in, p.out);
  const std::size_t bytes = piece_bytes(pieces, p.in, 0, product.scratch_bytes());
  for_pieces(pieces, p.workspace, bytes, p.in, 0,
             [&](std::int64_t r, std::int64_t rows, const PieceScratch& s) {
               float* const y = p.y + r * p.out;
               HWY_DYNAMIC_DISPATCH(quantise)(p.x + r * p.in, rows, p.in, s.q, s.row_scales);
               product.run(rows, s.q, layer, as_sums(y), s.library);
               if (p.gelu) {
                 HWY_DYNAMIC_DISPATCH(finish_gelu)
                 (as_sums(y), rows, p.out, s.row_scales, layer, p.bias, y);
               } else {
                 HWY_DYNAMIC_DISPATCH(finish_plain)
                 (as_sums(y), rows, p.out, s.row_scales, layer, p.bias, y);
               }
             });
}

std::size_t workspace_bytes(const Int8MlpForward& p) {
  p.validate();
  if (p.rows == 0) return 0;
  const RowPieces pieces(p.rows, std::max(p.hidden, p.out));
  const PieceProduct first(pieces, p.in, p.hidden), second(pieces, p.hidden, p.out);
  return workers_of(pieces) * piece_bytes(pieces, std::max(p.in, p.hidden), p.hidden,
                                          std::max(first.scratch_bytes(), second.scratch_bytes()));
}

void run(const Int8MlpForward& p) {
  p.validate();
  if (p.rows == 0) return;
  const Int8Layer layer1(p.packed1, p.hidden), layer2(p.packed2, p.out);
  const RowPieces pieces(p.rows, std::max(p.hidden, p.out));
  const PieceProduct first(pieces, p.in, p.hidden), second(pieces, p.hidden, p.out);
  const int widest = std::max(p.in, p.hidden);
  const std::size_t bytes = piece_bytes(pieces, widest, p.hidden,
                                        std::max(first.scratch_bytes(), second.scratch_bytes()));
  for_pieces(pieces, p.workspace, bytes, widest, p.hidden,
             [&](std::int64_t r, std::int64_t rows, const PieceScratch& s) {
               HWY_DYNAMIC_DISPATCH(quantise)(p.x + r * p.in, rows, p.in, s.q, s.row_scales);
               first.run(rows, s.q, layer1, s.sums, s.library);
               auto* const hidden = reinterpret_cast<float*>(s.sums);
               HWY_DYNAMIC_DISPATCH(finish_gelu)
               (s.sums, rows, p.hidden, s.row_scales, layer1, p.bias1, hidden);
               HWY_DYNAMIC_DISPATCH(quantise)(hidden, rows, p.hidden, s.q, s.row_scales);
               float* const y = p.y + r * p.out;
               second.run(rows, s.q, layer2, as_sums(y), s.library);
               HWY_DYNAMIC_DISPATCH(finish_plain)
               (as_sums(y), rows, p.out, s.row_scales, layer2, nullptr, y);
             });
}

}  // namespace hh::cpu
#endif  // HWY_ONCE
