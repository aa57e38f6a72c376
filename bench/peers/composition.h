// SPDX-License-Identifier: Apache-2.0
// A list of cuDNN calls, one elementary operation each, over arrays in GPU memory.
#pragma once
#include <cudnn.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "bench/peers/peers.h"

namespace hh::bench {

template <class T>
constexpr cudnnDataType_t kCudnnType = CUDNN_DATA_FLOAT;
template <>
inline constexpr cudnnDataType_t kCudnnType<bf16> = CUDNN_DATA_BFLOAT16;
template <>
inline constexpr cudnnDataType_t kCudnnType<std::uint8_t> = CUDNN_DATA_UINT8;

using Extents = std::vector<std::int64_t>;

/// An array, or a part of one. Strides are in elements.
struct View {
  void* data = nullptr;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  Extents dim, stride;
};

/// A view of dense memory, row-major.
View dense(const void* data, cudnnDataType_t type, const Extents& dim);
template <class T>
View dense(const T* data, const Extents& dim) {
  return dense(data, kCudnnType<T>, dim);
}
View strided(const View& of, const Extents& dim, const Extents& stride);
/// The last two axes swapped.
View transposed(View v);

enum class Unary : unsigned char { kCopy, kGelu, kReciprocal, kSoftplus, kSigmoid, kSqrt, kTanh };
enum class Binary : unsigned char { kAdd, kSubtract, kMultiply, kDivide, kGreater, kGeluGradient };

class Composition {
 public:
  explicit Composition(StreamHandle stream);

  /// Of cuDNN's graphs, in this process: one for each graph, whatever the arrays.
  static int plans_made;

  /// Dense memory that lives as long as the composition.
  View scratch(cudnnDataType_t type, const Extents& dim);
  /// The same, holding these floats.
  View constant(const std::vector<float>& values, const Extents& dim);

  // Each adds one call. Elementwise: extents of 1 are repeated.
  void unary(Unary f, const View& x, const View& y);
  /// kGreater: 1 or 0. kGeluGradient: a is dy, b is x.
  void binary(Binary f, const View& a, const View& b, const View& y);
  void binary(Binary f, const View& a, float b, const View& y);
  /// y = a + factor * x, and y = a + factor * f(b, c).
  void add_scaled(const View& a, float factor, const View& x, const View& y);
  void add_scaled(const View& a, float factor, Binary f, const View& b, const View& c,
                  const View& y);
  /// Sums, or means, over the axes whose extent in y is 1.
  void sum(const View& x, const View& y);
  void mean(const View& x, const View& y);
  /// Matrices are the last two axes. Float32 factors are shortened to TF32, as cuDNN does.
  void product(const View& a, const View& b, const View& c);
  /// x and y are [rows, columns]; mean and rstd are [rows].
  void layer_norm(const View& x, const float* gamma, const float* beta, float eps, const View& y,
                  float* mean, float* rstd);
  void layer_norm_backward(const View& dy, const View& x, const float* gamma, const float* mean,
                           const float* rstd, const View& dx, float* dgamma, float* dbeta);
  /// cuDNN's own fused attention, for narrow types: softmax(scale q k^T) v of [W, H, N, d], whose
  /// last strides are 1. lse is [W, H, N, 1].
  void attention(const View& q, const View& k, const View& v, float scale, const View& out,
                 const View& lse);
  /// Over the columns of [rows, columns].
  void softmax(const View& x, const View& y);
  void softmax_backward(const View& y, const View& dy, const View& dx);
  /// 3x3 windows, stride 2, padding 1; [B, h, h, C] to [B, o, o, C], o = (h-1)/2 + 1.
  void max_pool(const View& x, const View& y);
  void max_pool_backward(const View& y, const View& dy, const View& x, const View& dx);
  /// The same extents, up to five, whatever the strides.
  void copy(const View& from, const View& to);

  /// Runs what has been added so far, and forgets it: for what forward would have left behind.
  void run_and_forget();
  /// The composition as a peer, which owns it.
  static Peer finish(std::shared_ptr<Composition> composition);

 private:
  class Graph;
  void add(Graph& graph);
  void reduce(bool mean, const View& x, const View& y);
  std::shared_ptr<void> allocate(std::size_t bytes);

  cudnnHandle_t handle_;
  StreamHandle stream_;
  std::vector<std::shared_ptr<void>> memory_;
  std::vector<std::function<void()>> calls_;
};

}  // namespace hh::bench
