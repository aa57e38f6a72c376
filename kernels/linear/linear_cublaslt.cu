// SPDX-License-Identifier: Apache-2.0
// The products are cuBLASLt's; bias is its epilogue, and so are the sums of dy that dbias gets.
// Where it can't make them they are a pass of their own down the columns of dy.
#include "kernels/core/column_sum.cuh"
#include "kernels/gemm/gemm.cuh"
#include "kernels/linear/linear.h"

namespace hh::gpu {

template <class T>
std::size_t workspace_bytes(const LinearForward<T>&) {
  return gemm_workspace_bytes();
}
template <class T>
std::size_t workspace_bytes(const LinearBackwardInput<T>&) {
  return gemm_workspace_bytes();
}
template <class T>
std::size_t partial_sums_bytes(const LinearBackwardWeight<T>& p) {
  return p.dbias != nullptr ? column_sum_bytes(p.rows, p.out) : 0;
}
template <class T>
std::size_t workspace_bytes(const LinearBackwardWeight<T>& p) {
  return gemm_workspace_bytes() + (p.left != nullptr ? 0 : partial_sums_bytes(p));
}

template <class T>
void run(const LinearForward<T>& p, StreamHandle stream) {
  p.validate();
  gemm(Gemm<T, T>{.a = p.x,
                  .b = p.weight,
                  .b_transposed = true,
                  .d = p.y,
                  .rows = p.rows,
                  .cols = p.out,
                  .inner = p.in,
                  .bias = p.bias},
       p.workspace, stream);
}

template <class T>
void run(const LinearBackwardInput<T>& p, StreamHandle stream) {
  p.validate();
  gemm(Gemm<T, T>{.a = p.dy,
                  .b = p.weight,
                  .d = p.dx,
                  .rows = p.rows,
                  .cols = p.in,
                  .inner = p.out,
                  .accumulate = p.accumulate},
       p.workspace, stream);
}

template <class T>
void run(const LinearBackwardWeight<T>& p, StreamHandle stream) {
  p.validate();
  if (p.rows == 0) return;
  // One row of sums, or the partial ones of the pass.
  float* const rows =
      rows_of_sums(p.left, static_cast<char*>(p.workspace) + gemm_workspace_bytes());
  const bool summed = gemm(Gemm<T, float>{.a = p.dy,
                                          .a_transposed = true,
                                          .b = p.x,
                                          .d = p.dweight,
                                          .rows = p.out,
                                          .cols = p.in,
                                          .inner = p.rows,
                                          .accumulate = true,
                                          .a_sums = p.dbias != nullptr ? rows : nullptr},
                           p.workspace, stream);
  if (p.dbias == nullptr) return;
  finish_sums(summed ? PartialSums{.rows = rows, .count = 1, .cols = p.out, .to = {p.dbias}}
                     : column_partial_sums(p.dy, p.rows, p.out, rows, p.dbias, stream),
              p.left, stream);
}

#define HH_LINEAR_OF(T)                                                    \
  template std::size_t workspace_bytes(const LinearForward<T>&);           \
  template std::size_t workspace_bytes(const LinearBackwardInput<T>&);     \
  template std::size_t workspace_bytes(const LinearBackwardWeight<T>&);    \
  template std::size_t partial_sums_bytes(const LinearBackwardWeight<T>&); \
  template void run(const LinearForward<T>&, StreamHandle);                \
  template void run(const LinearBackwardInput<T>&, StreamHandle);          \
  template void run(const LinearBackwardWeight<T>&, StreamHandle);
HH_LINEAR_OF(float)
HH_LINEAR_OF(bf16)
HH_LINEAR_OF(f16)
#undef HH_LINEAR_OF

}  // namespace hh::gpu
