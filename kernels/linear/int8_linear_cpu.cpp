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

#include "kernels/core/simd_loop-inl.h"
#include "kernels/linear/gelu-inl.h"
#include "kernels/linear/int8_layer.h"
#include "kernels/linear/int8_linear.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kFloats;
constexpr hn::ScalableTag<std::int32_t> kInts;

/// The bits of the largest magnitude: as integers they are in order, with infinity and then NaNs at
/// the end, which a maximum of floats would lose.
HWY_INLINE std::int32_t largest_magnitude(const float* x, std::size_t n) {
  auto most = hn::Zero(kInts);
  for_each_vector(kFloats, n, [&](std::size_t i, auto at) HWY_ATTR {
    most = hn::Max(most, hn::BitCast(kInts, hn::Abs(at.load(kFloats, x + i))));
  });
  return hn::GetLane(hn::MaxOfLanes(kInts, most));
}

/// q + 128 of each row, and its s.
void quantise(const float* x, std::int64_t rows, std::int64_t n, std::uint8_t* q, float* scales) {
  constexpr float kLeast = 1e-30f, kInfinity = __builtin_inff(), kNan = __builtin_nanf("");
  const auto offset = hn::Set(kInts, 128);
  for (std::int64_t r = 0; r < rows; ++r, x += n, q += n) {
    const std::int32_t bits = largest_magnitude(x, std::size_t(n));
    const float most = __builtin_bit_cast(float, bits);
    const bool finite = most < kInfinity, some = finite && most >= kLeast;
    scales[r] = finite ? (some ? most / 127 : 0) : kNan;
    const auto inverse = hn::Set(kFloats, some ? 127 / most : 0);
    for_each_vector(kFloats, std::size_t(n), [&](std::size_t i, auto at) HWY_ATTR {
      // A NaN's conversion gives the least integer, which storing as a byte makes 0.
      const auto v = hn::NearestInt(hn::Mul(at.load(kFloats, x + i), inverse));
      at.store_code(kFloats, hn::Add(v, offset), q + i);
    });
  }
}

HWY_INLINE hn::Vec<decltype(kInts)> load_ints(WholeVector, const std::int32_t* p) {
  return hn::LoadU(kInts, p);
}
HWY_INLINE hn::Vec<decltype(kInts)> load_ints(PartVector part, const std::int32_t* p) {
  HWY_ALIGN std::int32_t buffer[hn::MaxLanes(kInts)] = {};
  for (std::size_t i = 0; i < part.count; ++i) buffer[i] = p[i];
  return hn::Load(kInts, buffer);
}

/// y of the sums of a piece, which may lie in the same memory.
template <bool kGelu>
void finish(const std::int32_t* sums, std::int64_t rows, std::int64_t n, const float* row_scales,
            const Int8Layer& layer, const float* bias, float* y) {
  for (std::int64_t r = 0; r < rows; ++r, sums += n, y += n) {
    const auto row_scale = hn::Set(kFloats, row_scales[r]);
    for_each_vector(kFloats, std::size_t(n), [&](std::size_t c, auto at) HWY_ATTR {
      const auto sum = hn::ConvertTo(
          kFloats, hn::Sub(load_ints(at, sums + c), load_ints(at, layer.corrections + c)));
      const auto scale = hn::Mul(row_scale, at.load(kFloats, layer.scales + c));
      const auto add = bias == nullptr ? hn::Zero(kFloats) : at.load(kFloats, bias + c);
      const auto v = hn::MulAdd(sum, scale, add);
      if constexpr (kGelu) {
        at.store(kFloats, gelu(kFloats, v), y + c);
      } else {
        at.store(kFloats, v, y + c);
      }
    });
  }
}
void finish_plain(const std::int32_t* sums, std::int64_t rows, std::int64_t n,
                  const float* row_scales, const Int8Layer& layer, const float* bias, float* y) {
  finish<false>(sums, rows, n, row_scales, layer, bias, y);
}
void finish_gelu(const std::int32_t* sums, std::int64_t rows, std::int64_t n,
                 const float* row_scales, const Int8Layer& layer, const float* bias, float* y) {
  finish<true>(sums, rows, n, row_scales, layer, bias, y);
}

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

#include "kernels/core/parallel.h"
#include "kernels/gemm/onednn_int8.h"
#include "kernels/gemm/pieces.h"

namespace hh::cpu {
namespace {

HWY_EXPORT(quantise);
HWY_EXPORT(finish_plain);
HWY_EXPORT(finish_gelu);

using onednn::Int8Product;

std::int64_t parts_of(std::int64_t n, std::int64_t each) { return (n + each - 1) / each; }

/// The rows, in pieces whose sums for `widest` outputs stay in the second-level cache.
struct RowPieces {
  RowPieces(std::int64_t rows_in, int widest) : rows(rows_in) {
    constexpr std::int64_t kSums = 1 << 16, kStep = 16;
    const std::int64_t shared = parts_of(parts_of(rows, most_pieces()), kStep) * kStep;
    height = std::min(std::clamp<std::int64_t>(kSums / widest / kStep * kStep, kStep, 256), shared);
    count = parts_of(rows, height);
  }
  std::int64_t begin(std::int64_t i) const { return i * height; }
  std::int64_t size(std::int64_t i) const { return std::min(height, rows - begin(i)); }
  std::int64_t rows, height, count;
};

/// A layer's product for pieces of full and of rest height.
class PieceProduct {
 public:
  PieceProduct(const RowPieces& pieces, int in, int out)
      : height_(pieces.height),
        full_(Int8Product::of(height_, in, out)),
        rest_(Int8Product::of(pieces.size(pieces.count - 1), in, out)) {}
  std::size_t scratch_bytes() const {
    return std::max(full_->scratch_bytes(), rest_->scratch_bytes());
  }
  void run(std::int64_t rows, const std::uint8_t* q, const Int8Layer& layer, std::int32_t* sums,
           void* scratch) const {
    (rows == height_ ? full_ : rest_)->run(q, layer.weights, sums, scratch);
  }

 private:
  std::int64_t height_;
  std::shared_ptr<const Int8Product> full_, rest_;
};

/// Of a piece: rows of up to `in` bytes, `hidden` sums of each, and what oneDNN wants.
struct PieceScratch {
  PieceScratch(void* memory, std::int64_t rows, int in, int hidden) {
    Workspace w(memory);
    q = w.take<std::uint8_t>(rows * in);
    row_scales = w.take<float>(rows);
    sums = w.take<std::int32_t>(rows * hidden);
    library = w.rest();
    own_bytes = w.bytes();
  }
  std::uint8_t* q;
  float* row_scales;
  std::int32_t* sums;
  void* library;
  std::size_t own_bytes;
};

std::size_t piece_bytes(const RowPieces& pieces, int in, int hidden, std::size_t library) {
  return PieceScratch(nullptr, pieces.height, in, hidden).own_bytes + Workspace::padded(library);
}
std::size_t workers_of(const RowPieces& pieces) {
  return std::size_t(std::min<std::int64_t>(num_threads(), pieces.count));
}

/// body(first row, rows, scratch) for each piece, in parallel.
template <class Body>
void for_pieces(const RowPieces& pieces, void* workspace, std::size_t bytes, int in, int hidden,
                Body body) {
  parallel_items(pieces.count, [&](int worker, std::int64_t i) {
    const Workspace mine = Workspace::piece(workspace, worker, bytes);
    body(pieces.begin(i), pieces.size(i), PieceScratch(mine.rest(), pieces.height, in, hidden));
  });
}

/// Sums are made where y will be: one has as many bytes as the other.
std::int32_t* as_sums(float* y) { return reinterpret_cast<std::int32_t*>(y); }

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
