// SPDX-License-Identifier: Apache-2.0
// The end of an interaction module: add the global path, normalise, pool.
//
//   sum[b,i,j,c]  = local[b,i,j,c] + up(glob)[b,i,j,c]   up: bilinear by factor s, corners not
//                                                        aligned
//   norm[b,i,j,c] = (sum - mean) * rstd * gamma[c] + beta[c]
//   mean[b,i,j]   = 1/C sum_c sum,   rstd[b,i,j] = 1 / sqrt(1/C sum_c (sum - mean)^2 + eps)
//   out[b,i,j,c]  = max of norm over the 3x3 window at (2i, 2j)   stride 2; padding never wins
//
// up reads source position max(0, (i + 0.5)/s - 0.5), separably. The first of equal maxima wins, in
// row-major order of the window, as in PyTorch. argmax[b,i,j,c] = 3*u + v of the winner, u, v in
// 0..2: input row 2i - 1 + u, column 2j - 1 + v. sum and norm are float32 whatever T is, so bf16
// storage makes no ties, and they are not stored: backward recomputes them.
//
// Backward: dnorm[b,i,j,c] is the sum of dout over the windows that (i, j) won, and then
//   g = dnorm * gamma,   xhat = (sum - mean) * rstd
//   dlocal = dsum = rstd * (g - 1/C sum_c g - xhat * 1/C sum_c g*xhat)
//   dglob = transpose of up applied to dsum (before its rounding to T)
//   dgamma += sum dnorm * xhat,   dbeta += sum dout     over images and pixels
//
// Source: docs/specification.md, section 1, "Interactive Module" and "Bilinear".
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/partial_sums.h"
#include "kernels/core/work.h"

namespace hh {

struct InteractionMergeShape {
  int images = 0;    // B >= 0
  int grid = 1;      // m: side of the global map (4 or 2 in the network), >= 1
  int factor = 1;    // s >= 1; local images are h x h with h = m*s, which must be even
  int channels = 0;  // C >= 1
  constexpr int side() const { return grid * factor; }
  double pixels() const { return double(images) * side() * side(); }
  double cells() const { return double(images) * grid * grid * channels; }  // values of glob

  static constexpr int kMaxSide = 1 << 15;

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(images >= 0, "interaction_merge: images = " << images);
    HH_PRECONDITION(grid >= 1, "interaction_merge: grid = " << grid);
    HH_PRECONDITION(factor >= 1, "interaction_merge: factor = " << factor);
    HH_PRECONDITION(std::int64_t{grid} * factor <= kMaxSide,
                    "interaction_merge: grid * factor = " << std::int64_t{grid} * factor);
    HH_PRECONDITION(side() % 2 == 0, "interaction_merge: side grid * factor = " << side());
    HH_PRECONDITION(channels >= 1, "interaction_merge: channels = " << channels);
  }
};

template <class T>  // float, bf16 or (GPU) f16
struct InteractionMergeForward {
  const T* local = nullptr;        // [B, h, h, C] in
  const T* glob = nullptr;         // [B, m, m, C] in
  const float* gamma = nullptr;    // [C] in
  const float* beta = nullptr;     // [C] in
  T* out = nullptr;                // [B, h/2, h/2, C] out
  std::uint8_t* argmax = nullptr;  // [B, h/2, h/2, C] out  null in inference
  float* mean = nullptr;           // [B, h, h] out  null exactly when argmax is
  float* rstd = nullptr;           // [B, h, h] out  null exactly when argmax is
  InteractionMergeShape shape;
  float eps = 1e-6f;          // > 0
  void* workspace = nullptr;  // workspace_bytes(*this), aligned to 64

  void validate() const {
    shape.validate();
    HH_PRECONDITION(eps > 0, "interaction_merge: eps = " << eps);
    HH_PRECONDITION(shape.images == 0 || (local && glob && gamma && beta && out),
                    "interaction_merge: an array is null");
    HH_PRECONDITION(!mean == !argmax && !rstd == !argmax,
                    "interaction_merge: only some of argmax, mean and rstd are given");
  }
  Work work() const {
    const double pixels = shape.pixels(), map = pixels * shape.channels, grid = shape.cells();
    const double saved = argmax ? map / 4 + 8 * pixels : 0;
    return {.bytes = sizeof(T) * (map + map / 4 + grid) + saved};
  }
};

template <class T>
struct InteractionMergeBackward {
  const T* dout = nullptr;               // [B, h/2, h/2, C] in
  const std::uint8_t* argmax = nullptr;  // [B, h/2, h/2, C] in
  const T* local = nullptr;              // [B, h, h, C] in
  const T* glob = nullptr;               // [B, m, m, C] in
  const float* gamma = nullptr;          // [C] in
  const float* mean = nullptr;           // [B, h, h] in
  const float* rstd = nullptr;           // [B, h, h] in
  T* dlocal = nullptr;                   // [B, h, h, C] out
  T* dglob = nullptr;                    // [B, m, m, C] out
  float* dgamma = nullptr;               // [C] in/out  added to
  float* dbeta = nullptr;                // [C] in/out  added to
  InteractionMergeShape shape;
  void* workspace = nullptr;    // workspace_bytes(*this), aligned to 64
  PartialSums* left = nullptr;  // GPU, host memory: takes the parameters' sums (partial_sums.h)

  void validate() const {
    shape.validate();
    HH_PRECONDITION(shape.images == 0 || (dout && argmax && local && glob && gamma && mean &&
                                          rstd && dlocal && dglob && dgamma && dbeta),
                    "interaction_merge: an array is null");
  }
  Work work() const {
    const double pixels = shape.pixels(), map = pixels * shape.channels, grid = shape.cells();
    return {.bytes = sizeof(T) * (2 * map + map / 4 + 2 * grid) + map / 4 + 8 * pixels};
  }
};

namespace cpu {
/// Return when done; the same bits for any number of threads. The workspace depends on the sizes
/// and on num_threads().
template <class T>
void run(const InteractionMergeForward<T>& p);
template <class T>
void run(const InteractionMergeBackward<T>& p);
template <class T>
std::size_t workspace_bytes(const InteractionMergeForward<T>& p);
template <class T>
std::size_t workspace_bytes(const InteractionMergeBackward<T>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class T>
void run(const InteractionMergeForward<T>& p, StreamHandle stream);
template <class T>
void run(const InteractionMergeBackward<T>& p, StreamHandle stream);
template <class T>
std::size_t workspace_bytes(const InteractionMergeForward<T>& p);
template <class T>
std::size_t workspace_bytes(const InteractionMergeBackward<T>& p);
template <class T>
std::size_t partial_sums_bytes(const InteractionMergeBackward<T>& p);
}  // namespace gpu

}  // namespace hh
