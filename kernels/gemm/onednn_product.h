// SPDX-License-Identifier: Apache-2.0
// Products of matrices by oneDNN, shared out to the team's threads in pieces of the result. All
// row-major. Throw DeviceError when oneDNN fails. The same bits every time for one num_threads().
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/gemm/onednn.h"
#include "kernels/gemm/pieces.h"

namespace hh::cpu::onednn {

/// c [m,n] = a b + beta c. ta: a is stored [k,m], tb: b is stored [n,k].
void sgemm(bool ta, bool tb, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
           const float* b, float beta, float* c);
/// The same on the calling thread alone: for callers that are part of a loop.
void sgemm_here(bool ta, bool tb, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                const float* b, float beta, float* c);

/// The same with oneDNN's matmul primitive: types, bias [n], scratch of the caller's.
class Matmul {
 public:
  struct Shape {
    dnnl::memory::data_type in, out;
    bool ta, tb;
    std::int64_t m, n, k;
    bool bias, accumulate;
  };

  explicit Matmul(const Shape& s);

  /// Holds for the num_threads() of the moment this was made.
  std::size_t scratch_bytes() const;
  /// scratch: aligned to 64.
  void run(const void* a, const void* b, const void* bias, void* c, void* scratch) const;

 private:
  class Part;
  const Part& part(const Pieces::Piece& p) const {
    return *parts_[p.rows == pieces_.height ? 0 : 1][p.columns == pieces_.width ? 0 : 1];
  }

  Shape shape_;
  Pieces pieces_;
  // For pieces of full and of rest height, of full and of rest width.
  std::shared_ptr<const Part> parts_[2][2];
  std::size_t scratch_of_piece_ = 0;
  int workers_ = 1;
};

}  // namespace hh::cpu::onednn
