// SPDX-License-Identifier: Apache-2.0
// Convolutions are cuDNN's where it can be used (cudnn.cuh), and weight gradients of 16-bit arrays one
// kernel's (weight_gradient.cuh), since cuDNN would round them to 16 bits. Else a convolution is one
// matrix product per group of images: the patch under each output pixel becomes a row of "columns"
// [pixels, taps * Cin] in scratch memory, so that
//
//   y = columns W^T,   dW = dy^T columns,   dcolumns = dy W,
//
// and dx gathers from dcolumns what each input pixel was copied to. Weights are made channels-last
// in scratch memory for both, and their gradient comes back from there (channels_last.cuh).
//
// Mapping   Columns and dx: a thread has 16 bytes of channels.
// Traffic   the columns are written and read once more than cuDNN's implicit form would; groups are
//           kept small enough to stay in a large L2.
#include <optional>

#include "kernels/conv/channels_last.cuh"
#include "kernels/conv/conv2d.h"
#include "kernels/conv/cudnn.cuh"
#include "kernels/conv/weight_gradient.cuh"
#include "kernels/core/column_sum.cuh"
#include "kernels/gemm/gemm.cuh"
#include "kernels/gemm/row_bias.cuh"

namespace hh::gpu {
namespace {

constexpr std::size_t kColumnBytes = std::size_t{32} << 20;  // of a group's columns: a guess

/// How the images are cut into groups.
struct Groups {
  Groups(const Conv2dShape& s, std::size_t element) {
    const std::size_t image = std::size_t(s.height) * std::size_t(s.width) * std::size_t(inner(s));
    images = int(std::clamp<std::size_t>(kColumnBytes / (image * element), 1,
                                         std::size_t(std::max(s.images, 1))));
    bytes = image * element * std::size_t(images);
  }
  static int inner(const Conv2dShape& s) { return s.in_channels * s.taps(); }
  int images;         // per group
  std::size_t bytes;  // of its columns
};

/// The shape of one group, starting at `first`.
Conv2dShape group_of(const Conv2dShape& s, int first, int images) {
  Conv2dShape g = s;
  g.images = std::min(images, s.images - first);
  return g;
}

/// Where a pixel of a group lies, from its number. A group's packs are fewer than 2^32, and 32-bit
/// divisions take a third of the instructions of 64-bit ones.
struct PixelPlace {
  int image, row, column;
  __device__ PixelPlace(unsigned pixel, const Conv2dShape& s) {
    const unsigned width = unsigned(s.width), height = unsigned(s.height);
    const unsigned line = pixel / width;
    column = int(pixel - line * width);
    image = int(line / height);
    row = int(line - unsigned(image) * height);
  }
  /// The number of the pixel `rows` and `columns` further in the same image; -1 outside it.
  __device__ std::int64_t moved(int rows, int columns, const Conv2dShape& s) const {
    const int r = row + rows, c = column + columns;
    if (unsigned(r) >= unsigned(s.height) || unsigned(c) >= unsigned(s.width)) return -1;
    return (std::int64_t{image} * s.height + r) * s.width + c;
  }
};

/// Thread i copies pack i of columns [pixels, taps, Cin / kVec]; outside the image there are zeros.
template <class T, int kVec>
__global__ void __launch_bounds__(kRowThreads)
    gather_columns_kernel(const T* x, const Conv2dShape s, T* columns, unsigned packs) {
  const unsigned i = blockIdx.x * kRowThreads + threadIdx.x;
  if (i >= packs) return;
  const unsigned of_pixel = unsigned(s.in_channels) / kVec, taps = unsigned(s.taps());
  const unsigned row_of_tap = i / of_pixel, pixel = row_of_tap / taps;
  const int c = int(i - row_of_tap * of_pixel) * kVec, tap = int(row_of_tap - pixel * taps);
  const std::int64_t from = PixelPlace(pixel, s).moved(tap / s.kernel_w - (s.kernel_h - 1) / 2,
                                                       tap % s.kernel_w - (s.kernel_w - 1) / 2, s);
  Pack<T, kVec> value{};
  if (from >= 0) value = *reinterpret_cast<const Pack<T, kVec>*>(x + from * s.in_channels + c);
  *reinterpret_cast<Pack<T, kVec>*>(columns + std::int64_t{i} * kVec) = value;
}

/// Thread i adds up what pack i of dx [pixels, Cin / kVec] was copied to.
template <class T, int kVec>
__global__ void __launch_bounds__(kRowThreads)
    scatter_columns_kernel(const float* dcolumns, const Conv2dShape s, T* dx, unsigned packs) {
  const unsigned i = blockIdx.x * kRowThreads + threadIdx.x;
  if (i >= packs) return;
  const unsigned of_pixel = unsigned(s.in_channels) / kVec, pixel = i / of_pixel;
  const int c = int(i - pixel * of_pixel) * kVec;
  const PixelPlace at(pixel, s);
  float sum[kVec] = {};
  for (int tap = 0; tap < s.taps(); ++tap) {
    // Of the output pixel that this tap served.
    const std::int64_t from = at.moved((s.kernel_h - 1) / 2 - tap / s.kernel_w,
                                       (s.kernel_w - 1) / 2 - tap % s.kernel_w, s);
    if (from < 0) continue;
    float v[kVec];
    load_floats(dcolumns + (from * s.taps() + tap) * s.in_channels + c, v);
#pragma unroll
    for (int k = 0; k < kVec; ++k) sum[k] += v[k];
  }
  store_floats(sum, dx + std::int64_t{i} * kVec);
}

dim3 blocks(std::int64_t threads) { return grid_of(ceil_div(threads, kRowThreads)); }

/// Scratch memory: the matrix products', weights channels-last, and the rest.
template <class TWeight>
struct Scratch {
  Scratch(void* workspace, const Conv2dShape& s)
      : product(workspace),
        weights(reinterpret_cast<TWeight*>(static_cast<char*>(workspace) + gemm_workspace_bytes())),
        rest(reinterpret_cast<char*>(weights) + bytes_of_weights(s)) {}
  static std::size_t before_rest(const Conv2dShape& s) {
    return gemm_workspace_bytes() + bytes_of_weights(s);
  }
  static std::size_t bytes_of_weights(const Conv2dShape& s) {
    return (std::size_t(s.weights()) * sizeof(TWeight) + 255) / 256 * 256;
  }
  void* product;
  TWeight* weights;
  char* rest;
};

/// Runs body(group's shape, first pixel of the group, columns) for all groups, columns gathered.
template <class T, class Body>
void for_each_group(const T* x, const Conv2dShape& s, void* memory, StreamHandle stream,
                    const Body& body) {
  auto* const columns = static_cast<T*>(memory);
  const Groups groups(s, sizeof(T));
  for (int first = 0; first < s.images; first += groups.images) {
    const Conv2dShape g = group_of(s, first, groups.images);
    const std::int64_t pixel = std::int64_t{first} * s.height * s.width;
    choose_vector<T>(s.in_channels, aligned16(x), [&](auto vec) {
      const auto packs = unsigned(g.pixels() * Groups::inner(s) / vec);
      gather_columns_kernel<T, vec()>
          <<<blocks(packs), kRowThreads, 0, stream>>>(x + pixel * s.in_channels, g, columns, packs);
    });
    HH_CHECK_LAUNCH(stream);
    body(g, pixel, columns);
  }
}

/// Of cuDNN's way or, when it refuses, ours.
template <class T>
std::size_t either_way(ConvPass pass, const Conv2dShape& s, std::size_t element) {
  return std::max(cudnn_workspace_bytes<T>(pass, s), Groups(s, element).bytes);
}

/// Of the one kernel for a weight gradient, if it is taken.
template <class T>
std::optional<WeightGradientPlan> plan_of(const Conv2dBackwardWeight<T>& p) {
  if constexpr (sizeof(T) == 2) return weight_gradient_plan(p);
  return {};
}
/// Scratch bytes for its sums of weights.
std::size_t bytes_of_shares(const Conv2dShape& s, const WeightGradientPlan& plan) {
  return (std::size_t(plan.shares) * std::size_t(s.weights()) * sizeof(float) + 255) / 256 * 256;
}

template <class T>
void run_one_kernel(const Conv2dBackwardWeight<T>& p, const WeightGradientPlan& plan,
                    StreamHandle stream) {
  const Conv2dShape& s = p.shape;
  auto* const shares = static_cast<float*>(p.workspace);
  void* const own_sums = static_cast<char*>(p.workspace) + bytes_of_shares(s, plan);
  float* const biases = p.dbias != nullptr ? rows_of_sums(p.left, own_sums) : nullptr;
  weight_gradient(p, plan, shares, biases, stream);
  if (biases != nullptr) {
    finish_sums(
        {.rows = biases, .count = plan.bias_rows(), .cols = s.out_channels, .to = {p.dbias}},
        p.left, stream);
  }
  add_from_channels_last(shares, plan.shares, s, p.dweight, stream);
}

}  // namespace

template <class T>
std::size_t workspace_bytes(const Conv2dForward<T>& p) {
  const Conv2dShape& s = p.shape;
  return Scratch<T>::before_rest(s) + either_way<T>(ConvPass::kForward, s, sizeof(T));
}
template <class T>
std::size_t workspace_bytes(const Conv2dBackwardInput<T>& p) {
  const Conv2dShape& s = p.shape;
  return Scratch<T>::before_rest(s) + either_way<T>(ConvPass::kBackwardInput, s, sizeof(float));
}
template <class T>
std::size_t partial_sums_bytes(const Conv2dBackwardWeight<T>& p) {
  if (p.dbias == nullptr) return 0;
  if (const auto plan = plan_of(p)) {
    return std::size_t(plan->bias_rows()) * std::size_t(p.shape.out_channels) * sizeof(float);
  }
  return column_sum_bytes(p.shape.pixels(), p.shape.out_channels);
}
template <class T>
std::size_t workspace_bytes(const Conv2dBackwardWeight<T>& p) {
  const Conv2dShape& s = p.shape;
  const std::size_t own_sums = p.left != nullptr ? 0 : partial_sums_bytes(p);
  if (const auto plan = plan_of(p)) return bytes_of_shares(s, *plan) + own_sums;
  return Scratch<float>::before_rest(s) +
         std::max(own_sums, either_way<T>(ConvPass::kBackwardWeight, s, sizeof(T)));
}

template <class T>
void run(const Conv2dForward<T>& p, StreamHandle stream) {
  p.validate();
  const Conv2dShape& s = p.shape;
  if (s.images == 0) return;
  const Scratch<T> scratch(p.workspace, s);
  T* const weights = p.rows != nullptr ? p.rows : scratch.weights;
  weights_to_channels_last(p.weight, s, weights, stream);
  switch (cudnn_convolve(ConvPass::kForward, s, p.x, weights, p.bias, p.y, scratch.rest, stream)) {
    case CudnnDid::kAll:
      return;
    case CudnnDid::kAllButBias:
      return add_bias(p.y, p.bias, s.pixels(), s.out_channels, stream);
    case CudnnDid::kNothing:
      break;
  }
  for_each_group(p.x, s, scratch.rest, stream,
                 [&](const Conv2dShape& g, std::int64_t pixel, const T* columns) {
                   gemm(Gemm<T, T>{.a = columns,
                                   .b = weights,
                                   .b_transposed = true,
                                   .d = p.y + pixel * s.out_channels,
                                   .rows = g.pixels(),
                                   .cols = s.out_channels,
                                   .inner = Groups::inner(s),
                                   .bias = p.bias},
                        scratch.product, stream);
                 });
}

template <class T>
void run(const Conv2dBackwardInput<T>& p, StreamHandle stream) {
  p.validate();
  const Conv2dShape& s = p.shape;
  if (s.images == 0) return;
  const Scratch<T> scratch(p.workspace, s);
  if (p.rows == nullptr) weights_to_channels_last(p.weight, s, scratch.weights, stream);
  const T* const weights = p.rows != nullptr ? p.rows : scratch.weights;
  if (cudnn_convolve<T>(ConvPass::kBackwardInput, s, p.dy, weights, nullptr, p.dx, scratch.rest,
                        stream) == CudnnDid::kAll) {
    return;
  }
  auto* const dcolumns = reinterpret_cast<float*>(scratch.rest);
  const Groups groups(s, sizeof(float));
  for (int first = 0; first < s.images; first += groups.images) {
    const Conv2dShape g = group_of(s, first, groups.images);
    const std::int64_t pixel = std::int64_t{first} * s.height * s.width;
    gemm(Gemm<T, float>{.a = p.dy + pixel * s.out_channels,
                        .b = weights,
                        .d = dcolumns,
                        .rows = g.pixels(),
                        .cols = Groups::inner(s),
                        .inner = s.out_channels},
         scratch.product, stream);
    choose_vector<float>(s.in_channels, aligned16(p.dx), [&](auto vec) {
      const auto packs = unsigned(g.pixels() * s.in_channels / vec);
      scatter_columns_kernel<T, vec()><<<blocks(packs), kRowThreads, 0, stream>>>(
          dcolumns, g, p.dx + pixel * s.in_channels, packs);
    });
    HH_CHECK_LAUNCH(stream);
  }
}

template <class T>
void run(const Conv2dBackwardWeight<T>& p, StreamHandle stream) {
  p.validate();
  const Conv2dShape& s = p.shape;
  if (s.images == 0) return;
  if constexpr (sizeof(T) == 2) {
    if (const auto plan = plan_of(p)) return run_one_kernel(p, *plan, stream);
  }
  const Scratch<float> scratch(p.workspace, s);
  if (p.dbias != nullptr) {
    // Unless they are left, its partial sums are done with before the columns need the memory.
    finish_sums(column_partial_sums(p.dy, s.pixels(), s.out_channels,
                                    rows_of_sums(p.left, scratch.rest), p.dbias, stream),
                p.left, stream);
  }
  bool done = false;
  if constexpr (std::is_same_v<T, float>) {
    done = cudnn_convolve<T>(ConvPass::kBackwardWeight, s, p.x, p.dy, nullptr, scratch.weights,
                             scratch.rest, stream) == CudnnDid::kAll;
  }
  if (!done) {
    for_each_group(p.x, s, scratch.rest, stream,
                   [&](const Conv2dShape& g, std::int64_t pixel, const T* columns) {
                     gemm(Gemm<T, float>{.a = p.dy + pixel * s.out_channels,
                                         .a_transposed = true,
                                         .b = columns,
                                         .d = scratch.weights,
                                         .rows = s.out_channels,
                                         .cols = Groups::inner(s),
                                         .inner = g.pixels(),
                                         .accumulate = pixel != 0},
                          scratch.product, stream);
                   });
  }
  add_from_channels_last(scratch.weights, 1, s, p.dweight, stream);
}

#define HH_CONV2D_OF(T)                                                    \
  template std::size_t workspace_bytes(const Conv2dForward<T>&);           \
  template std::size_t workspace_bytes(const Conv2dBackwardInput<T>&);     \
  template std::size_t workspace_bytes(const Conv2dBackwardWeight<T>&);    \
  template std::size_t partial_sums_bytes(const Conv2dBackwardWeight<T>&); \
  template void run(const Conv2dForward<T>&, StreamHandle);                \
  template void run(const Conv2dBackwardInput<T>&, StreamHandle);          \
  template void run(const Conv2dBackwardWeight<T>&, StreamHandle);
HH_CONV2D_OF(float)
HH_CONV2D_OF(bf16)
HH_CONV2D_OF(f16)
#undef HH_CONV2D_OF

}  // namespace hh::gpu
