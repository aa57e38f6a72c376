// SPDX-License-Identifier: Apache-2.0
// What stands between two GEMMs of a transformer layer, in one pass over the rows:
//
//   z[r,c] = residual[r,c] + s[r / rows_per_image] * (branch[r,c] + bias[c])
//   y[r,c] = (z[r,c] - mean[r]) * rstd[r] * gamma[c] + beta[c]
//   mean[r] = 1/C sum_c z[r,c],   rstd[r] = 1 / sqrt(1/C sum_c (z[r,c] - mean[r])^2 + eps)
//
// s is the drop-path scale of the image: 0 or 1/keep; null means 1. A null branch means z =
// residual and z isn't written. A null gamma (then beta and y are null) leaves the LayerNorm out.
// z is rounded to T before the statistics, since backward starts from the stored z.
//
// Backward, with dz the gradient that reaches z from elsewhere (the skip connection) and dy y's:
//   dresidual = dz + dLayerNorm(dy),   dbranch = s * dresidual,   dbias += sum_r dbranch
//   dgamma += sum_r dy * (z - mean) * rstd,   dbeta += sum_r dy
//
// Rows are tokens, R = B*T*N; columns are channels. Arrays are dense and row-major.
// Source: docs/specification.md, section 1, "Transformer layer"; section 3, drop path.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/partial_sums.h"
#include "kernels/core/work.h"

namespace hh {

template <class T>  // float, bf16 or (GPU) f16; statistics and parameters are float32
struct ResidualLayerNormForward {
  const T* residual = nullptr;         // [R, C] in
  const T* branch = nullptr;           // [R, C] in   may be null
  const float* bias = nullptr;         // [C]    in   of the branch; may be null
  const float* image_scale = nullptr;  // [R / rows_per_image] in   may be null
  const float* gamma = nullptr;        // [C]    in   may be null
  const float* beta = nullptr;         // [C]    in   null exactly when gamma is
  T* z = nullptr;                      // [R, C] out  null exactly when branch is; may be `residual`
  T* y = nullptr;                      // [R, C] out  null exactly when gamma is
  float* mean = nullptr;               // [R]    out  null in inference
  float* rstd = nullptr;               // [R]    out  null exactly when mean is
  std::int64_t rows = 0;               // R >= 0
  std::int64_t rows_per_image = 1;     // >= 1, divides R
  int cols = 0;                        // C >= 1
  float eps = 1e-6f;                   // > 0

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(rows >= 0, "residual_layer_norm: rows = " << rows);
    HH_PRECONDITION(cols >= 1, "residual_layer_norm: cols = " << cols);
    HH_PRECONDITION(
        rows_per_image >= 1 && rows % rows_per_image == 0,
        "residual_layer_norm: rows_per_image = " << rows_per_image << " of rows = " << rows);
    HH_PRECONDITION(eps > 0, "residual_layer_norm: eps = " << eps);
    HH_PRECONDITION(rows == 0 || residual, "residual_layer_norm: residual is null");
    HH_PRECONDITION(rows == 0 || !branch == !z,
                    "residual_layer_norm: only one of branch and z is given");
    HH_PRECONDITION(rows == 0 || branch || !(bias || image_scale),
                    "residual_layer_norm: bias or image_scale is given without a branch");
    HH_PRECONDITION(!gamma == !beta, "residual_layer_norm: only one of gamma and beta is given");
    HH_PRECONDITION(rows == 0 || !gamma == !y,
                    "residual_layer_norm: only one of gamma and y is given");
    HH_PRECONDITION(!mean == !rstd, "residual_layer_norm: only one of mean and rstd is given");
  }
  Work work() const {
    const int arrays = 1 + (branch ? 2 : 0) + (y ? 1 : 0);
    return {.bytes = double(rows) * (double(arrays) * sizeof(T) * cols + (mean ? 8 : 0))};
  }
};

template <class T>
struct ResidualLayerNormBackward {
  const T* dz = nullptr;               // [R, C] in   may be null (0)
  const T* dy = nullptr;               // [R, C] in   null: no LayerNorm, or nothing used y; then
                                       //             z, gamma, mean, rstd aren't read, and dgamma
                                       //             and dbeta stay as they are
  const T* z = nullptr;                // [R, C] in   stored by forward (residual if no branch)
  const float* image_scale = nullptr;  // as in forward
  const float* gamma = nullptr;        // [C]    in
  const float* mean = nullptr;         // [R]    in
  const float* rstd = nullptr;         // [R]    in
  T* dresidual = nullptr;              // [R, C] out  may be `dz` or `dy`
  T* dbranch = nullptr;                // [R, C] out  null: not wanted (no branch, or image_scale is
                                       //             null and dbranch equals dresidual)
  float* dbias = nullptr;   // [C] in/out  added to: sum_r of the branch's gradient, before its
                            //             rounding to T; may be null
  float* dgamma = nullptr;  // [C] in/out  added to
  float* dbeta = nullptr;   // [C] in/out  added to
  std::int64_t rows = 0;
  std::int64_t rows_per_image = 1;
  int cols = 0;
  void* workspace = nullptr;    // workspace_bytes(*this), aligned to 64: partial sums of the three
                                // parameter gradients
  PartialSums* left = nullptr;  // GPU, host memory: takes the parameters' sums (partial_sums.h)

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(rows >= 0, "residual_layer_norm: rows = " << rows);
    HH_PRECONDITION(cols >= 1, "residual_layer_norm: cols = " << cols);
    HH_PRECONDITION(
        rows_per_image >= 1 && rows % rows_per_image == 0,
        "residual_layer_norm: rows_per_image = " << rows_per_image << " of rows = " << rows);
    HH_PRECONDITION(rows == 0 || dresidual, "residual_layer_norm: dresidual is null");
    HH_PRECONDITION(rows == 0 || !dy || (z && gamma && mean && rstd && dgamma && dbeta),
                    "residual_layer_norm: dy is given, but an array of the LayerNorm is null");
  }
  Work work() const {
    const int arrays = 1 + (dz ? 1 : 0) + (dy ? 2 : 0) + (dbranch ? 1 : 0);
    return {.bytes = double(rows) * (double(arrays) * sizeof(T) * cols + (dy ? 8 : 0))};
  }
};

namespace cpu {
/// Return when done; the same bits for any number of threads.
template <class T>
void run(const ResidualLayerNormForward<T>& p);
template <class T>
void run(const ResidualLayerNormBackward<T>& p);
template <class T>
std::size_t workspace_bytes(const ResidualLayerNormBackward<T>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class T>
void run(const ResidualLayerNormForward<T>& p, StreamHandle stream);
template <class T>
void run(const ResidualLayerNormBackward<T>& p, StreamHandle stream);
template <class T>
std::size_t workspace_bytes(const ResidualLayerNormBackward<T>& p);
template <class T>
std::size_t partial_sums_bytes(const ResidualLayerNormBackward<T>& p);
}  // namespace gpu

}  // namespace hh
