// SPDX-License-Identifier: Apache-2.0
// float32   GELU is applied to parts of the product while they are in the cache.
// bf16      Two passes: oneDNN's product, then bias and GELU over its rows.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/linear_gelu_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <algorithm>
#include <cstdint>

#include "kernels/core/check_workspace.h"
#include "kernels/core/simd_loop-inl.h"
#include "kernels/gemm/wide_product.h"
#include "kernels/linear/gelu-inl.h"
#include "kernels/linear/linear_gelu_passes.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

/// y = gelu(tile + bias); y may be where the tile is.
void gelu_of_tile(const ProductTile& tile, const float* bias, float* y) {
  const hn::ScalableTag<float> d;
  const float* const b = bias + tile.column;
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const float* const x = tile.c + r * tile.pitch;
    float* const to = y + (tile.row + r) * tile.pitch + tile.column;
    for_each_vector(d, std::size_t(tile.columns), [&](std::size_t c, auto at) HWY_ATTR {
      at.store(d, gelu(d, hn::Add(at.load(d, x + c), at.load(d, b + c))), to + c);
    });
  }
}

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(gelu_of_tile);

WideProduct wide_product_of(const LinearGeluForward<float>& p) {
  return {.m = p.rows,
          .n = p.hidden,
          .k = p.in,
          .a = p.x,
          .b = p.weight,
          .packed = static_cast<const float*>(p.packed),
          .c = p.pre != nullptr ? p.pre : p.y};
}

void forward(const LinearGeluForward<float>& p) {
  const auto gelu = [&](const ProductTile& tile) {
    HWY_DYNAMIC_DISPATCH(gelu_of_tile)(tile, p.bias, p.y);
  };
  const FinishTile finish(gelu);
  run(wide_product_of(p), p.workspace, &finish);
}
void forward(const LinearGeluForward<bf16>& p) {
  run(product_of(p));
  run(gelu_of(p));
}

}  // namespace

template <class T>
void run(const LinearGeluForward<T>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  if (p.rows != 0) forward(p);
}

template <class T>
void run(const LinearGeluBackward<T>& p) {
  p.validate();
  run(product_of(p));
  run(gelu_of(p));
}

template <class T>
std::size_t workspace_bytes(const LinearGeluForward<T>& p) {
  p.validate();
  if (p.rows == 0) return 0;
  if constexpr (std::is_same_v<T, float>) return workspace_bytes(wide_product_of(p));
  return workspace_bytes(product_of(p));
}
template <class T>
std::size_t workspace_bytes(const LinearGeluBackward<T>& p) {
  return std::max(workspace_bytes(product_of(p)), workspace_bytes(gelu_of(p)));
}

#define HH_LINEAR_GELU_OF(T)                                         \
  template void run(const LinearGeluForward<T>&);                    \
  template void run(const LinearGeluBackward<T>&);                   \
  template std::size_t workspace_bytes(const LinearGeluForward<T>&); \
  template std::size_t workspace_bytes(const LinearGeluBackward<T>&);
HH_LINEAR_GELU_OF(float)
HH_LINEAR_GELU_OF(bf16)
#undef HH_LINEAR_GELU_OF

}  // namespace hh::cpu
#endif  // HWY_ONCE
