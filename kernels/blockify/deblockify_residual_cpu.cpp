// SPDX-License-Identifier: Apache-2.0
// Traffic   Each operand goes to and from memory once.
// Numerics  float32. The sums over tokens are cut into chunks by the sizes, added up in order.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/blockify/deblockify_residual_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <algorithm>
#include <cstdint>

#include "kernels/blockify/block_runs.h"
#include "kernels/blockify/deblockify_residual.h"
#include "kernels/core/check_workspace.h"
#include "kernels/core/parallel.h"
#include "kernels/core/row_chunks.h"
#include "kernels/core/simd_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kFloats;

template <class T>
void forward_runs(const DeblockifyResidualForward<T>& p, std::int64_t begin, std::int64_t end) {
  const auto d = kFloats;
  const BlockRuns runs(p.shape);
  const auto cols = std::size_t(p.shape.channels);
  BlockRuns::Place place = runs.place(begin);
  for (std::int64_t run = begin; run < end; ++run, runs.advance(place)) {
    const auto scale =
        hn::Set(d, p.image_scale != nullptr ? p.image_scale[run / runs.per_image] : 1.0f);
    const T* z = p.z + run * runs.side * p.shape.channels;
    const T* branch = p.branch + run * runs.side * p.shape.channels;
    T* out = p.out + runs.image_token(place) * p.shape.channels;
    for (std::int64_t i = 0; i < runs.side; ++i, z += cols, branch += cols, out += cols) {
      for_each_vector(d, cols, [&](std::size_t c, auto at) HWY_ATTR {
        const auto b = hn::Add(at.load(d, branch + c), at.load(d, p.bias + c));
        at.store(d, hn::MulAdd(scale, b, at.load(d, z + c)), out + c);
      });
    }
  }
}

/// `partial`: sums for dbias.
template <class T>
void backward_runs(const DeblockifyResidualBackward<T>& p, std::int64_t begin, std::int64_t end,
                   float* partial) {
  const auto d = kFloats;
  const BlockRuns runs(p.shape);
  const auto cols = std::size_t(p.shape.channels);
  std::fill_n(partial, cols, 0.0f);
  BlockRuns::Place place = runs.place(begin);
  for (std::int64_t run = begin; run < end; ++run, runs.advance(place)) {
    const bool scaled = p.image_scale != nullptr;
    const auto scale = hn::Set(d, scaled ? p.image_scale[run / runs.per_image] : 1.0f);
    const T* dout = p.dout + runs.image_token(place) * p.shape.channels;
    T* dz = p.dz + run * runs.side * p.shape.channels;
    T* dbranch = scaled ? p.dbranch + run * runs.side * p.shape.channels : nullptr;
    for (std::int64_t i = 0; i < runs.side; ++i, dout += cols, dz += cols) {
      for_each_vector(d, cols, [&](std::size_t c, auto at) HWY_ATTR {
        const auto g = at.load(d, dout + c), b = hn::Mul(scale, g);
        at.store(d, g, dz + c);
        if (scaled) at.store(d, b, dbranch + c);
        at.store(d, hn::Add(b, at.load(d, partial + c)), partial + c);
      });
      if (scaled) dbranch += cols;
    }
  }
}

void forward_f32(const DeblockifyResidualForward<float>& p, std::int64_t begin, std::int64_t end) {
  forward_runs(p, begin, end);
}
void forward_bf16(const DeblockifyResidualForward<bf16>& p, std::int64_t begin, std::int64_t end) {
  forward_runs(p, begin, end);
}
void backward_f32(const DeblockifyResidualBackward<float>& p, std::int64_t begin, std::int64_t end,
                  float* partial) {
  backward_runs(p, begin, end, partial);
}
void backward_bf16(const DeblockifyResidualBackward<bf16>& p, std::int64_t begin, std::int64_t end,
                   float* partial) {
  backward_runs(p, begin, end, partial);
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

void run_range(const DeblockifyResidualForward<float>& p, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward_f32)(p, begin, end);
}
void run_range(const DeblockifyResidualForward<bf16>& p, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward_bf16)(p, begin, end);
}
void run_range(const DeblockifyResidualBackward<float>& p, std::int64_t begin, std::int64_t end,
               float* partial) {
  HWY_DYNAMIC_DISPATCH(backward_f32)(p, begin, end, partial);
}
void run_range(const DeblockifyResidualBackward<bf16>& p, std::int64_t begin, std::int64_t end,
               float* partial) {
  HWY_DYNAMIC_DISPATCH(backward_bf16)(p, begin, end, partial);
}

ChunkSums bias_sums(const BlockGrid& shape) {
  return {RowChunks(BlockRuns(shape).count, std::int64_t{shape.side} * shape.channels),
          shape.channels};
}

}  // namespace

template <class T>
void run(const DeblockifyResidualForward<T>& p) {
  p.validate();
  const BlockRuns runs(p.shape);
  parallel_for(runs.count, std::max<std::int64_t>(1, kGrain / (runs.side * p.shape.channels)),
               [&](std::int64_t begin, std::int64_t end) { run_range(p, begin, end); });
}

template <class T>
void run(const DeblockifyResidualBackward<T>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  if (p.shape.images == 0) return;
  ChunkSums sums = bias_sums(p.shape);
  sums.for_each(p.workspace, [&](std::int64_t begin, std::int64_t end, float* partial) {
    run_range(p, begin, end, partial);
  });
  sums.add_to(p.dbias, 0, p.shape.channels);
}

template <class T>
std::size_t workspace_bytes(const DeblockifyResidualBackward<T>& p) {
  return bias_sums(p.shape).workspace_bytes();
}

template void run(const DeblockifyResidualForward<float>&);
template void run(const DeblockifyResidualForward<bf16>&);
template void run(const DeblockifyResidualBackward<float>&);
template void run(const DeblockifyResidualBackward<bf16>&);
template std::size_t workspace_bytes(const DeblockifyResidualBackward<float>&);
template std::size_t workspace_bytes(const DeblockifyResidualBackward<bf16>&);

}  // namespace hh::cpu
#endif
