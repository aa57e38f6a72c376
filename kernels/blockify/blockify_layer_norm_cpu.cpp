// SPDX-License-Identifier: Apache-2.0
// Traffic   Each operand goes to and from memory once; see residual_layer_norm_cpu.cpp. Backward
//           takes a few positions at a time through all images, so that their part of dpos, the
//           one operand that is as large as an image, stays in the cache.
// Numerics  float32. dpos is added up in the order of the images; the sums of dgamma and dbeta are
//           cut into chunks of positions by the sizes, added up in order.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/blockify/blockify_layer_norm_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <algorithm>
#include <cstdint>

#include "kernels/blockify/block_runs.h"
#include "kernels/blockify/blockify_layer_norm.h"
#include "kernels/core/check_workspace.h"
#include "kernels/core/parallel.h"
#include "kernels/core/row_chunks.h"
#include "kernels/core/row_norm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kFloats;

template <class T>
void forward_runs(const BlockifyLayerNormForward<T>& p, std::int64_t begin, std::int64_t end) {
  const auto d = kFloats;
  const BlockRuns runs(p.shape);
  const auto cols = std::size_t(p.shape.channels);
  BlockRuns::Place place = runs.place(begin);
  for (std::int64_t run = begin; run < end; ++run, runs.advance(place)) {
    const T* x = p.x + runs.image_token(place) * p.shape.channels;
    const float* pos = p.pos + run % runs.per_image * runs.side * p.shape.channels;
    const std::int64_t token = run * runs.side;
    make_and_normalise_rows(d, token, token + runs.side, cols, p.eps, p.gamma, p.beta, p.z, p.y,
                            p.mean, p.rstd, [&](std::int64_t r) HWY_ATTR {
                              const T* from = x + (r - token) * p.shape.channels;
                              const float* add = pos + (r - token) * p.shape.channels;
                              T* z = p.z + r * p.shape.channels;
                              return row_sum(d, cols, [&](std::size_t c, auto at) HWY_ATTR {
                                at.store(d, hn::Add(at.load(d, from + c), at.load(d, add + c)),
                                         z + c);
                                return at.load(d, z + c);
                              });
                            });
  }
}

/// The same runs [begin, end) of all images. `partial`: sums for dgamma and dbeta.
template <class T>
void backward_runs(const BlockifyLayerNormBackward<T>& p, std::int64_t begin, std::int64_t end,
                   float* partial) {
  const auto d = kFloats;
  const BlockRuns runs(p.shape);
  const auto cols = std::size_t(p.shape.channels);
  std::fill_n(partial, 2 * cols, 0.0f);
  const BlockRuns::Place first_place = runs.place(begin);
  for (std::int64_t image = 0; image < p.shape.images; ++image) {
    BlockRuns::Place place = first_place;
    place.image = image;
    for (std::int64_t k = begin; k < end; ++k, runs.advance(place)) {
      const std::int64_t run = image * runs.per_image + k;
      T* dx = p.dx + runs.image_token(place) * p.shape.channels;
      float* dpos = p.dpos + k * runs.side * p.shape.channels;
      const std::int64_t token = run * runs.side;
      for_each_pass(0, runs.side, [&](std::int64_t start, std::int64_t number) HWY_ATTR {
        RowGradient<decltype(hn::ScalableTag<float>())> gradients[kRowsPerPass];
        for (std::int64_t i = 0; i < number; ++i) {
          const std::int64_t r = token + start + i, first = r * p.shape.channels;
          gradients[i] = {d,       p.dy + first, p.z + first,   cols, {p.mean[r], p.rstd[r]},
                          p.gamma, partial,      partial + cols};
        }
        for (std::int64_t i = 0; i < number; ++i) {
          const std::int64_t in_run = (start + i) * p.shape.channels;
          const std::int64_t first = token * p.shape.channels + in_run;
          for_each_vector(d, cols, [&](std::size_t c, auto at) HWY_ATTR {
            auto total = gradients[i](at.load(d, p.dy + first + c), at.load(d, p.z + first + c),
                                      at.load(d, p.gamma + c));
            if (p.dz != nullptr) total = hn::Add(total, at.load(d, p.dz + first + c));
            at.store(d, total, dx + in_run + c);
            at.store(d, hn::Add(total, at.load(d, dpos + in_run + c)), dpos + in_run + c);
          });
        }
      });
    }
  }
}

void forward_f32(const BlockifyLayerNormForward<float>& p, std::int64_t begin, std::int64_t end) {
  forward_runs(p, begin, end);
}
void forward_bf16(const BlockifyLayerNormForward<bf16>& p, std::int64_t begin, std::int64_t end) {
  forward_runs(p, begin, end);
}
void backward_f32(const BlockifyLayerNormBackward<float>& p, std::int64_t begin, std::int64_t end,
                  float* partial) {
  backward_runs(p, begin, end, partial);
}
void backward_bf16(const BlockifyLayerNormBackward<bf16>& p, std::int64_t begin, std::int64_t end,
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

void run_range(const BlockifyLayerNormForward<float>& p, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward_f32)(p, begin, end);
}
void run_range(const BlockifyLayerNormForward<bf16>& p, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward_bf16)(p, begin, end);
}
void run_range(const BlockifyLayerNormBackward<float>& p, std::int64_t begin, std::int64_t end,
               float* partial) {
  HWY_DYNAMIC_DISPATCH(backward_f32)(p, begin, end, partial);
}
void run_range(const BlockifyLayerNormBackward<bf16>& p, std::int64_t begin, std::int64_t end,
               float* partial) {
  HWY_DYNAMIC_DISPATCH(backward_bf16)(p, begin, end, partial);
}

/// Of dgamma and dbeta, in chunks of positions.
ChunkSums parameter_sums(const BlockGrid& shape) {
  return {RowChunks(BlockRuns(shape).per_image,
                    std::int64_t{shape.images} * shape.side * shape.channels),
          2 * std::int64_t{shape.channels}};
}

}  // namespace

template <class T>
void run(const BlockifyLayerNormForward<T>& p) {
  p.validate();
  const BlockRuns runs(p.shape);
  parallel_for(runs.count, std::max<std::int64_t>(1, kGrain / (runs.side * p.shape.channels)),
               [&](std::int64_t begin, std::int64_t end) { run_range(p, begin, end); });
}

template <class T>
void run(const BlockifyLayerNormBackward<T>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  if (p.shape.images == 0) return;
  ChunkSums sums = parameter_sums(p.shape);
  sums.for_each(p.workspace, [&](std::int64_t begin, std::int64_t end, float* partial) {
    run_range(p, begin, end, partial);
  });
  sums.add_to(p.dgamma, 0, p.shape.channels);
  sums.add_to(p.dbeta, p.shape.channels, p.shape.channels);
}

template <class T>
std::size_t workspace_bytes(const BlockifyLayerNormBackward<T>& p) {
  return parameter_sums(p.shape).workspace_bytes();
}

template void run(const BlockifyLayerNormForward<float>&);
template void run(const BlockifyLayerNormForward<bf16>&);
template void run(const BlockifyLayerNormBackward<float>&);
template void run(const BlockifyLayerNormBackward<bf16>&);
template std::size_t workspace_bytes(const BlockifyLayerNormBackward<float>&);
template std::size_t workspace_bytes(const BlockifyLayerNormBackward<bf16>&);

}  // namespace hh::cpu
#endif
