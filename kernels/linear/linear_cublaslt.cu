// SPDX-License-Identifier: Apache-2.0
// The products are cuBLASLt's; bias is its epilogue, and so are the sums of dy that dbias gets.
// Where it can't make them they are a pass of their own down the columns of dy.
#include "kernels/core/column_sum.cuh"
#include "kernels/gemm/gemm.cuh"
#include "kernels/linear/linear.h"

namespace hh::gpu {

template <class T>
std::size_t workspace_bytes(const LinearForward<T>&) {
  return kGemmWorkspace;
}
template <class T>
std::size_t workspace_bytes(const LinearBackwardInput<T>&) {
  return kGemmWorkspace;
}
template <class T>
std::size_t workspace_bytes(const LinearBackwardWeight<T>& p) {
  return kGemmWorkspace + (p.dbias != nullptr ? column_sum_bytes(p.rows, p.out) : 0);
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
  auto* const sums = reinterpret_cast<float*>(static_cast<char*>(p.workspace) + kGemmWorkspace);
  const bool summed = gemm(Gemm<T, float>{.a = p.dy,
                                          .a_transposed = true,
                                          .b = p.x,
                                          .d = p.dweight,
                                          .rows = p.out,
                                          .cols = p.in,
                                          .inner = p.rows,
                                          .accumulate = true,
                                          .a_sums = p.dbias != nullptr ? sums : nullptr},
                           p.workspace, stream);
  if (p.dbias == nullptr) return;
  if (summed) {
    add_column_sums<1>({.partials = sums, .blocks = 1, .cols = p.out, .to = {p.dbias}}, stream);
  } else {
    add_column_sums(p.dy, p.rows, p.out, sums, p.dbias, stream);
  }
}

#define HH_LINEAR_OF(T)                                                 \
  template std::size_t workspace_bytes(const LinearForward<T>&);        \
  template std::size_t workspace_bytes(const LinearBackwardInput<T>&);  \
  template std::size_t workspace_bytes(const LinearBackwardWeight<T>&); \
  template void run(const LinearForward<T>&, StreamHandle);             \
  template void run(const LinearBackwardInput<T>&, StreamHandle);       \
  template void run(const LinearBackwardWeight<T>&, StreamHandle);
HH_LINEAR_OF(float)
HH_LINEAR_OF(bf16)
HH_LINEAR_OF(f16)
#undef HH_LINEAR_OF

}  // namespace hh::gpu
