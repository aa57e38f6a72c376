// SPDX-License-Identifier: Apache-2.0
// Traffic   x and dy are read, y and dx written once. bias and the partial sums of its gradient
//           stay in L1.
// Numerics  float32, see gelu-inl.h. The sums over rows are cut into chunks by the sizes, added up
//           in order.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/bias_gelu_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <algorithm>
#include <cstdint>

#include "kernels/core/check_workspace.h"
#include "kernels/core/parallel.h"
#include "kernels/core/row_chunks.h"
#include "kernels/core/simd_loop-inl.h"
#include "kernels/linear/bias_gelu.h"
#include "kernels/linear/gelu-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kFloats;

template <class T>
void forward_rows(const BiasGeluForward<T>& p, std::int64_t begin, std::int64_t end) {
  const auto d = kFloats;
  const auto cols = std::size_t(p.cols);
  for (std::int64_t r = begin; r < end; ++r) {
    const T* x = p.x + r * p.cols;
    T* y = p.y + r * p.cols;
    for_each_vector(d, cols, [&](std::size_t c, auto at) HWY_ATTR {
      at.store(d, gelu(d, hn::Add(at.load(d, x + c), at.load(d, p.bias + c))), y + c);
    });
  }
}

/// `partial`: sums for dbias.
template <class T>
void backward_rows(const BiasGeluBackward<T>& p, std::int64_t begin, std::int64_t end,
                   float* partial) {
  const auto d = kFloats;
  const auto cols = std::size_t(p.cols);
  std::fill_n(partial, cols, 0.0f);
  for (std::int64_t r = begin; r < end; ++r) {
    const T* x = p.x + r * p.cols;
    const T* dy = p.dy + r * p.cols;
    T* dx = p.dx + r * p.cols;
    for_each_vector(d, cols, [&](std::size_t c, auto at) HWY_ATTR {
      const auto v = hn::Add(at.load(d, x + c), at.load(d, p.bias + c));
      const auto g = hn::Mul(at.load(d, dy + c), gelu_gradient(d, v));
      at.store(d, g, dx + c);
      at.store(d, hn::Add(g, at.load(d, partial + c)), partial + c);
    });
  }
}

void forward_f32(const BiasGeluForward<float>& p, std::int64_t begin, std::int64_t end) {
  forward_rows(p, begin, end);
}
void forward_bf16(const BiasGeluForward<bf16>& p, std::int64_t begin, std::int64_t end) {
  forward_rows(p, begin, end);
}
void backward_f32(const BiasGeluBackward<float>& p, std::int64_t begin, std::int64_t end,
                  float* partial) {
  backward_rows(p, begin, end, partial);
}
void backward_bf16(const BiasGeluBackward<bf16>& p, std::int64_t begin, std::int64_t end,
                   float* partial) {
  backward_rows(p, begin, end, partial);
}

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(forward_f32);
HWY_EXPORT(forward_bf16);
HWY_EXPORT(backward_f32);
HWY_EXPORT(backward_bf16);

constexpr std::int64_t kGrain = 8192;  // elements per thread; a guess: some microseconds of work

void rows(const BiasGeluForward<float>& p, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward_f32)(p, begin, end);
}
void rows(const BiasGeluForward<bf16>& p, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward_bf16)(p, begin, end);
}
void rows(const BiasGeluBackward<float>& p, std::int64_t begin, std::int64_t end, float* partial) {
  HWY_DYNAMIC_DISPATCH(backward_f32)(p, begin, end, partial);
}
void rows(const BiasGeluBackward<bf16>& p, std::int64_t begin, std::int64_t end, float* partial) {
  HWY_DYNAMIC_DISPATCH(backward_bf16)(p, begin, end, partial);
}

template <class T>
ChunkSums bias_sums(const BiasGeluBackward<T>& p) {
  return {RowChunks(p.rows, p.cols), p.cols};
}

}  // namespace

template <class T>
void run(const BiasGeluForward<T>& p) {
  p.validate();
  parallel_for(p.rows, std::max<std::int64_t>(1, kGrain / p.cols),
               [&](std::int64_t begin, std::int64_t end) { rows(p, begin, end); });
}

template <class T>
void run(const BiasGeluBackward<T>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  if (p.rows == 0) return;
  ChunkSums sums = bias_sums(p);
  sums.for_each(p.workspace, [&](std::int64_t begin, std::int64_t end, float* partial) {
    rows(p, begin, end, partial);
  });
  sums.add_to(p.dbias, 0, p.cols);
}

template <class T>
std::size_t workspace_bytes(const BiasGeluBackward<T>& p) {
  return bias_sums(p).workspace_bytes();
}

template void run(const BiasGeluForward<float>&);
template void run(const BiasGeluForward<bf16>&);
template void run(const BiasGeluBackward<float>&);
template void run(const BiasGeluBackward<bf16>&);
template std::size_t workspace_bytes(const BiasGeluBackward<float>&);
template std::size_t workspace_bytes(const BiasGeluBackward<bf16>&);

}  // namespace hh::cpu
#endif
