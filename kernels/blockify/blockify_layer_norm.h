// SPDX-License-Identifier: Apache-2.0
// Block aggregation, position embedding and the level's first LayerNorm in one pass:
//
//   z[b,t,n,c] = x[b, i, j, c] + pos[t,n,c]     t = (i/s)*grid + j/s,  n = (i%s)*s + j%s
//   y = LayerNorm(z) over c, as in residual_layer_norm.h
//
// s is the block side, grid the blocks per side (4, 2 or 1), so x has grid*s rows and columns.
// Backward: dtotal = dz + dLayerNorm(dy); dx is dtotal put back in image order; dpos += sum_b
// dtotal. Images are channels-last.
// Source: docs/specification.md, section 1, "Level l", steps 2 and 3.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/partial_sums.h"
#include "kernels/core/work.h"

namespace hh {

struct BlockGrid {
  int images = 0;    // B >= 0
  int grid = 1;      // blocks per side, >= 1; T = grid^2
  int side = 1;      // s: tokens per side of a block, >= 1; N = s^2
  int channels = 0;  // C >= 1
  constexpr std::int64_t tokens() const { return images * positions(); }
  constexpr std::int64_t positions() const { return std::int64_t{grid} * grid * side * side; }

  /// Throws std::invalid_argument, naming the op, the field and its value.
  void validate(const char* op) const {
    HH_PRECONDITION(images >= 0, op << ": images = " << images);
    HH_PRECONDITION(grid >= 1, op << ": grid = " << grid);
    HH_PRECONDITION(side >= 1, op << ": side = " << side);
    HH_PRECONDITION(channels >= 1, op << ": channels = " << channels);
  }
};

template <class T>  // float, bf16 or (GPU) f16
struct BlockifyLayerNormForward {
  const T* x = nullptr;          // [B, grid*s, grid*s, C] in
  const float* pos = nullptr;    // [T, N, C] in
  const float* gamma = nullptr;  // [C] in
  const float* beta = nullptr;   // [C] in
  T* z = nullptr;                // [B, T, N, C] out  the residual stream
  T* y = nullptr;                // [B, T, N, C] out  normalised
  float* mean = nullptr;         // [B*T*N] out  null in inference
  float* rstd = nullptr;         // [B*T*N] out  null exactly when mean is
  BlockGrid shape;
  float eps = 1e-6f;  // > 0

  void validate() const {
    shape.validate("blockify_layer_norm");
    HH_PRECONDITION(eps > 0, "blockify_layer_norm: eps = " << eps);
    HH_PRECONDITION(shape.images == 0 || (x && pos && gamma && beta && z && y),
                    "blockify_layer_norm: an array is null");
    HH_PRECONDITION(!mean == !rstd, "blockify_layer_norm: only one of mean and rstd is given");
  }
  Work work() const {
    const double row = shape.channels, statistics = mean ? 8.0 : 0.0;
    return {.bytes = double(shape.tokens()) * (3 * sizeof(T) * row + statistics) +
                     4 * double(shape.positions()) * row};
  }
};

template <class T>
struct BlockifyLayerNormBackward {
  const T* dz = nullptr;         // [B, T, N, C] in   may be null (0)
  const T* dy = nullptr;         // [B, T, N, C] in
  const T* z = nullptr;          // [B, T, N, C] in
  const float* gamma = nullptr;  // [C] in
  const float* mean = nullptr;   // [B*T*N] in
  const float* rstd = nullptr;   // [B*T*N] in
  T* dx = nullptr;               // [B, grid*s, grid*s, C] out
  float* dpos = nullptr;         // [T, N, C] in/out  added to
  float* dgamma = nullptr;       // [C] in/out  added to
  float* dbeta = nullptr;        // [C] in/out  added to
  BlockGrid shape;
  void* workspace = nullptr;    // workspace_bytes(*this), aligned to 64
  PartialSums* left = nullptr;  // GPU, host memory: takes the parameters' sums (partial_sums.h)

  void validate() const {
    shape.validate("blockify_layer_norm");
    HH_PRECONDITION(
        shape.images == 0 || (dy && z && gamma && mean && rstd && dx && dpos && dgamma && dbeta),
        "blockify_layer_norm: an array is null");
  }
  Work work() const {
    const double row = shape.channels;
    return {.bytes = double(shape.tokens()) * ((dz ? 4 : 3) * sizeof(T) * row + 8) +
                     8 * double(shape.positions()) * row};
  }
};

namespace cpu {
/// Return when done; the same bits for any number of threads.
template <class T>
void run(const BlockifyLayerNormForward<T>& p);
template <class T>
void run(const BlockifyLayerNormBackward<T>& p);
template <class T>
std::size_t workspace_bytes(const BlockifyLayerNormBackward<T>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class T>
void run(const BlockifyLayerNormForward<T>& p, StreamHandle stream);
template <class T>
void run(const BlockifyLayerNormBackward<T>& p, StreamHandle stream);
template <class T>
std::size_t workspace_bytes(const BlockifyLayerNormBackward<T>& p);
template <class T>
std::size_t partial_sums_bytes(const BlockifyLayerNormBackward<T>& p);
}  // namespace gpu

}  // namespace hh
