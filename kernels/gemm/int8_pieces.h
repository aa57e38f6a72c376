// SPDX-License-Identifier: Apache-2.0
// How layers whose products are of bytes share out their rows. What a piece makes on the way stays in the
// second-level cache. Private to the CPU kernels.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>

#include "kernels/core/parallel.h"
#include "kernels/core/workspace.h"
#include "kernels/gemm/int8_layer.h"
#include "kernels/gemm/onednn_int8.h"
#include "kernels/gemm/pieces.h"

namespace hh::cpu {

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
        full_(onednn::Int8Product::of(height_, in, out)),
        rest_(onednn::Int8Product::of(pieces.size(pieces.count - 1), in, out)) {}
  std::size_t scratch_bytes() const {
    return std::max(full_->scratch_bytes(), rest_->scratch_bytes());
  }
  void run(std::int64_t rows, const std::uint8_t* q, const Int8Layer& layer, std::int32_t* sums,
           void* scratch) const {
    (rows == height_ ? full_ : rest_)->run(q, layer.weights, sums, scratch);
  }

 private:
  std::int64_t height_;
  std::shared_ptr<const onednn::Int8Product> full_, rest_;
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

inline std::size_t piece_bytes(const RowPieces& pieces, int in, int hidden, std::size_t library) {
  return PieceScratch(nullptr, pieces.height, in, hidden).own_bytes + Workspace::padded(library);
}
inline std::size_t workers_of(const RowPieces& pieces) {
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
inline std::int32_t* as_sums(float* y) { return reinterpret_cast<std::int32_t*>(y); }

}  // namespace hh::cpu
