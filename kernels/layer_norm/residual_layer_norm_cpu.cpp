// SPDX-License-Identifier: Apache-2.0
// Traffic   Each operand goes to and from memory once; the passes of a LayerNorm over a row run on
//           what the first has brought into L1. bias, gamma, beta and the partial sums of their
//           gradients stay there too.
// Numerics  float32. The sums over rows are cut into chunks by the sizes, added up in order.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/layer_norm/residual_layer_norm_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <algorithm>
#include <cstdint>

#include "kernels/core/check_workspace.h"
#include "kernels/core/parallel.h"
#include "kernels/core/row_chunks.h"
#include "kernels/core/row_norm-inl.h"
#include "kernels/layer_norm/residual_layer_norm.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kFloats;

/// z = residual + scale * (branch + bias) of a row; returns its sum, after rounding.
template <class T>
float add_branch(const T* residual, const T* branch, const float* bias, float scale,
                 std::size_t cols, T* z) {
  const auto d = kFloats;
  const auto s = hn::Set(d, scale);
  return row_sum(d, cols, [&](std::size_t c, auto at) HWY_ATTR {
    auto b = at.load(d, branch + c);
    if (bias != nullptr) b = hn::Add(b, at.load(d, bias + c));
    at.store(d, hn::MulAdd(s, b, at.load(d, residual + c)), z + c);
    return at.load(d, z + c);
  });
}

template <class T>
void forward_rows(const ResidualLayerNormForward<T>& p, std::int64_t begin, std::int64_t end) {
  const auto d = kFloats;
  const auto cols = std::size_t(p.cols);
  const auto make_row = [&](std::int64_t r) HWY_ATTR {
    const std::int64_t first = r * p.cols;
    if (p.branch != nullptr) {
      const float scale = p.image_scale != nullptr ? p.image_scale[r / p.rows_per_image] : 1;
      return add_branch(p.residual + first, p.branch + first, p.bias, scale, cols, p.z + first);
    }
    return row_sum(d, cols, [&](std::size_t c, auto at) HWY_ATTR {
      return at.load(d, p.residual + first + c);
    });
  };
  if (p.gamma != nullptr) {
    make_and_normalise_rows(d, begin, end, cols, p.eps, p.gamma, p.beta,
                            p.branch != nullptr ? p.z : p.residual, p.y, p.mean, p.rstd, make_row);
  } else if (p.branch != nullptr) {
    for (std::int64_t r = begin; r < end; ++r) make_row(r);
  }
}

/// The end of backward for a row, whose dresidual is gradient(first column, at).
template <class T, class Gradient>
HWY_INLINE void finish_row(std::size_t cols, float scale, T* dresidual, T* dbranch, float* dbias,
                           Gradient gradient) {
  const auto d = kFloats;
  const auto s = hn::Set(d, scale);
  for_each_vector(d, cols, [&](std::size_t c, auto at) HWY_ATTR {
    const auto g = gradient(c, at);
    at.store(d, g, dresidual + c);
    const auto b = hn::Mul(s, g);
    if (dbranch != nullptr) at.store(d, b, dbranch + c);
    if (dbias != nullptr) at.store(d, hn::Add(b, at.load(d, dbias + c)), dbias + c);
  });
}

/// `partial`: sums for dgamma, dbeta and dbias, cols floats each, which the rows are added to.
template <class T>
void backward_rows(const ResidualLayerNormBackward<T>& p, std::int64_t begin, std::int64_t end,
                   float* partial) {
  const auto d = kFloats;
  const auto cols = std::size_t(p.cols);
  std::fill_n(partial, 3 * cols, 0.0f);
  float* dbias = p.dbias != nullptr ? partial + 2 * cols : nullptr;
  const auto finish = [&](std::int64_t r, auto gradient) HWY_ATTR {
    const std::int64_t first = r * p.cols;
    const float scale = p.image_scale != nullptr ? p.image_scale[r / p.rows_per_image] : 1;
    T* dbranch = p.dbranch != nullptr ? p.dbranch + first : nullptr;
    if (p.dz == nullptr)
      return finish_row(cols, scale, p.dresidual + first, dbranch, dbias, gradient);
    finish_row(cols, scale, p.dresidual + first, dbranch, dbias,
               [&](std::size_t c, auto at)
                   HWY_ATTR { return hn::Add(at.load(d, p.dz + first + c), gradient(c, at)); });
  };
  if (p.dy == nullptr) {
    for (std::int64_t r = begin; r < end; ++r) {
      finish(r, [&](std::size_t, auto) HWY_ATTR { return hn::Zero(d); });
    }
    return;
  }
  for_each_pass(begin, end, [&](std::int64_t start, std::int64_t number) HWY_ATTR {
    RowGradient<decltype(hn::ScalableTag<float>())> gradients[kRowsPerPass];
    for (std::int64_t i = 0; i < number; ++i) {
      const std::int64_t r = start + i, first = r * p.cols;
      gradients[i] = {d,       p.dy + first, p.z + first,   cols, {p.mean[r], p.rstd[r]},
                      p.gamma, partial,      partial + cols};
    }
    for (std::int64_t i = 0; i < number; ++i) {
      const T* dy = p.dy + (start + i) * p.cols;
      const T* z = p.z + (start + i) * p.cols;
      finish(start + i, [&](std::size_t c, auto at) HWY_ATTR {
        return gradients[i](at.load(d, dy + c), at.load(d, z + c), at.load(d, p.gamma + c));
      });
    }
  });
}

void forward_f32(const ResidualLayerNormForward<float>& p, std::int64_t begin, std::int64_t end) {
  forward_rows(p, begin, end);
}
void forward_bf16(const ResidualLayerNormForward<bf16>& p, std::int64_t begin, std::int64_t end) {
  forward_rows(p, begin, end);
}
void backward_f32(const ResidualLayerNormBackward<float>& p, std::int64_t begin, std::int64_t end,
                  float* partial) {
  backward_rows(p, begin, end, partial);
}
void backward_bf16(const ResidualLayerNormBackward<bf16>& p, std::int64_t begin, std::int64_t end,
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

constexpr std::int64_t kGrain = 16384;  // elements per thread; a guess: some microseconds of work

void rows(const ResidualLayerNormForward<float>& p, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward_f32)(p, begin, end);
}
void rows(const ResidualLayerNormForward<bf16>& p, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward_bf16)(p, begin, end);
}
void rows(const ResidualLayerNormBackward<float>& p, std::int64_t begin, std::int64_t end,
          float* partial) {
  HWY_DYNAMIC_DISPATCH(backward_f32)(p, begin, end, partial);
}
void rows(const ResidualLayerNormBackward<bf16>& p, std::int64_t begin, std::int64_t end,
          float* partial) {
  HWY_DYNAMIC_DISPATCH(backward_bf16)(p, begin, end, partial);
}

/// Of dgamma, dbeta and dbias.
template <class T>
ChunkSums parameter_sums(const ResidualLayerNormBackward<T>& p) {
  return {RowChunks(p.rows, p.cols), 3 * p.cols};
}

}  // namespace

template <class T>
void run(const ResidualLayerNormForward<T>& p) {
  p.validate();
  parallel_for(p.rows, std::max<std::int64_t>(1, kGrain / p.cols),
               [&](std::int64_t begin, std::int64_t end) { rows(p, begin, end); });
}

template <class T>
void run(const ResidualLayerNormBackward<T>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  if (p.rows == 0) return;
  ChunkSums sums = parameter_sums(p);
  sums.for_each(p.workspace, [&](std::int64_t begin, std::int64_t end, float* partial) {
    rows(p, begin, end, partial);
  });
  if (p.dy != nullptr) {
    sums.add_to(p.dgamma, 0, p.cols);
    sums.add_to(p.dbeta, p.cols, p.cols);
  }
  if (p.dbias != nullptr) sums.add_to(p.dbias, 2 * p.cols, p.cols);
}

template <class T>
std::size_t workspace_bytes(const ResidualLayerNormBackward<T>& p) {
  return parameter_sums(p).workspace_bytes();
}

template void run(const ResidualLayerNormForward<float>&);
template void run(const ResidualLayerNormForward<bf16>&);
template void run(const ResidualLayerNormBackward<float>&);
template void run(const ResidualLayerNormBackward<bf16>&);
template std::size_t workspace_bytes(const ResidualLayerNormBackward<float>&);
template std::size_t workspace_bytes(const ResidualLayerNormBackward<bf16>&);

}  // namespace hh::cpu
#endif
