// cuDNN's where it can be used (cudnn.cuh); else a convolution is one matrix product per
// group of images: the patch under each output pixel becomes a row of "columns" [pixels, Cin*kh*kw]
// in scratch memory, in the order of the weights, so that
//   y = columns W^T,   dW = dy^T columns,   dcolumns = dy W,
// and dx gathers from dcolumns what each input pixel was copied to. 1x1 kernels are linear layers.
//
// Traffic   the columns are written and read once more than cuDNN's implicit form would; groups are
//           kept small enough to stay in a large L2.
#include "kernels/conv/conv2d.h"
#include "kernels/conv/cudnn.cuh"
#include "kernels/core/column_sum.cuh"
#include "kernels/linear/gemm.cuh"

namespace hh::gpu {
namespace {

constexpr int kThreads = 256;
constexpr std::size_t kColumnBytes = std::size_t{32} << 20;  // of a group's columns: a guess

/// How the images are cut into groups.
struct Groups {
  Groups(const Conv2dShape& s, std::size_t element) {
    const std::size_t image = std::size_t(s.height) * std::size_t(s.width) * std::size_t(inner(s));
    images = int(std::clamp<std::size_t>(kColumnBytes / (image * element), 1,
                                         std::size_t(std::max(s.images, 1))));
    bytes = image * element * std::size_t(images);
  }
  static int inner(const Conv2dShape& s) { return s.in_channels * s.kernel_h * s.kernel_w; }
  int images;         // per group
  std::size_t bytes;  // of its columns
};

/// The shape of one group, starting at `first`.
Conv2dShape group_of(const Conv2dShape& s, int first, int images) {
  Conv2dShape g = s;
  g.images = std::min(images, s.images - first);
  return g;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    gather_columns_kernel(const T* x, const Conv2dShape s, T* columns, std::int64_t count) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const int taps = s.kernel_h * s.kernel_w, inner = s.in_channels * taps;
  const std::int64_t pixel = i / inner;
  const int k = int(i % inner), c = k / taps, u = k % taps / s.kernel_w, v = k % s.kernel_w;
  const int column = int(pixel % s.width) + v - (s.kernel_w - 1) / 2;
  const int row = int(pixel / s.width % s.height) + u - (s.kernel_h - 1) / 2;
  T value{};
  if (row >= 0 && row < s.height && column >= 0 && column < s.width) {
    const std::int64_t image = pixel / (std::int64_t{s.width} * s.height);
    value = x[((image * s.height + row) * s.width + column) * s.in_channels + c];
  }
  columns[i] = value;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    scatter_columns_kernel(const float* dcolumns, const Conv2dShape s, T* dx, std::int64_t count) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const int c = int(i % s.in_channels), taps = s.kernel_h * s.kernel_w;
  const std::int64_t pixel = i / s.in_channels;
  const int x = int(pixel % s.width), y = int(pixel / s.width % s.height);
  const std::int64_t image = pixel / (std::int64_t{s.width} * s.height);
  float sum = 0;
  for (int u = 0; u < s.kernel_h; ++u) {
    const int row = y - u + (s.kernel_h - 1) / 2;  // of the output pixel that tap (u, v) served
    if (row < 0 || row >= s.height) continue;
    for (int v = 0; v < s.kernel_w; ++v) {
      const int column = x - v + (s.kernel_w - 1) / 2;
      if (column < 0 || column >= s.width) continue;
      const std::int64_t from = (image * s.height + row) * s.width + column;
      sum += dcolumns[(from * s.in_channels + c) * taps + u * s.kernel_w + v];
    }
  }
  dx[i] = narrow<T>(sum);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    add_bias_kernel(T* y, const float* bias, std::int64_t count, int channels) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) y[i] = narrow<T>(widen(y[i]) + bias[i % channels]);
}

unsigned blocks(std::int64_t count) { return unsigned(ceil_div(count, kThreads)); }

/// Runs body(group's shape, first pixel of the group, columns) for all groups, columns gathered.
template <class T, class Body>
void for_each_group(const T* x, const Conv2dShape& s, void* workspace, StreamHandle stream,
                    const Body& body) {
  auto* const columns = reinterpret_cast<T*>(static_cast<char*>(workspace) + kGemmWorkspace);
  const Groups groups(s, sizeof(T));
  for (int first = 0; first < s.images; first += groups.images) {
    const Conv2dShape g = group_of(s, first, groups.images);
    const std::int64_t pixel = std::int64_t{first} * s.height * s.width;
    const std::int64_t count = g.pixels() * Groups::inner(s);
    gather_columns_kernel<<<blocks(count), kThreads, 0, stream>>>(x + pixel * s.in_channels, g,
                                                                  columns, count);
    HH_CHECK_LAUNCH(stream);
    body(g, pixel, columns);
  }
}

/// A linear layer is a matrix product whoever does it.
template <class T>
bool by_cudnn(ConvPass pass, const Conv2dShape& s) {
  return !s.is_linear() && cudnn_takes<T>(pass, s);
}

}  // namespace

template <class T>
std::size_t workspace_bytes(const Conv2dForward<T>& p) {
  if (by_cudnn<T>(ConvPass::kForward, p.shape)) {
    return cudnn_workspace_bytes<T>(ConvPass::kForward, p.shape);
  }
  return kGemmWorkspace + (p.shape.is_linear() ? 0 : Groups(p.shape, sizeof(T)).bytes);
}
template <class T>
std::size_t workspace_bytes(const Conv2dBackwardInput<T>& p) {
  if (by_cudnn<T>(ConvPass::kBackwardInput, p.shape)) {
    return cudnn_workspace_bytes<T>(ConvPass::kBackwardInput, p.shape);
  }
  return kGemmWorkspace + (p.shape.is_linear() ? 0 : Groups(p.shape, sizeof(float)).bytes);
}
template <class T>
std::size_t workspace_bytes(const Conv2dBackwardWeight<T>& p) {
  const std::size_t columns = p.shape.is_linear() ? 0 : Groups(p.shape, sizeof(T)).bytes;
  const std::size_t library = by_cudnn<T>(ConvPass::kBackwardWeight, p.shape)
                                  ? cudnn_workspace_bytes<T>(ConvPass::kBackwardWeight, p.shape)
                                  : 0;
  const std::size_t sums = column_sum_bytes(p.shape.pixels(), p.shape.out_channels);
  return kGemmWorkspace + std::max({columns, library, sums});
}

template <class T>
void conv2d_forward(const Conv2dForward<T>& p, StreamHandle stream) {
  p.validate();
  const Conv2dShape& s = p.shape;
  if (by_cudnn<T>(ConvPass::kForward, s)) {
    cudnn_convolve(ConvPass::kForward, s, p.x, p.weight, p.y, p.workspace, stream);
    if (p.bias == nullptr) return;
    const std::int64_t count = s.pixels() * s.out_channels;
    add_bias_kernel<<<blocks(count), kThreads, 0, stream>>>(p.y, p.bias, count, s.out_channels);
    HH_CHECK_LAUNCH(stream);
    return;
  }
  const auto product = [&](const Conv2dShape& g, std::int64_t pixel, const T* rows) {
    gemm(Gemm<T, T>{.a = rows,
                    .b = p.weight,
                    .b_transposed = true,
                    .d = p.y + pixel * s.out_channels,
                    .rows = g.pixels(),
                    .cols = s.out_channels,
                    .inner = Groups::inner(s),
                    .bias = p.bias},
         p.workspace, stream);
  };
  if (s.is_linear()) return product(s, 0, p.x);
  for_each_group(p.x, s, p.workspace, stream, product);
}

template <class T>
void conv2d_backward_input(const Conv2dBackwardInput<T>& p, StreamHandle stream) {
  p.validate();
  const Conv2dShape& s = p.shape;
  if (s.is_linear()) {
    gemm(Gemm<T, T>{.a = p.dy,
                    .b = p.weight,
                    .d = p.dx,
                    .rows = s.pixels(),
                    .cols = s.in_channels,
                    .inner = s.out_channels},
         p.workspace, stream);
    return;
  }
  if (by_cudnn<T>(ConvPass::kBackwardInput, s)) {
    return cudnn_convolve(ConvPass::kBackwardInput, s, p.dy, p.weight, p.dx, p.workspace, stream);
  }
  auto* const dcolumns = reinterpret_cast<float*>(static_cast<char*>(p.workspace) + kGemmWorkspace);
  const Groups groups(s, sizeof(float));
  for (int first = 0; first < s.images; first += groups.images) {
    const Conv2dShape g = group_of(s, first, groups.images);
    const std::int64_t pixel = std::int64_t{first} * s.height * s.width;
    gemm(Gemm<T, float>{.a = p.dy + pixel * s.out_channels,
                        .b = p.weight,
                        .d = dcolumns,
                        .rows = g.pixels(),
                        .cols = Groups::inner(s),
                        .inner = s.out_channels},
         p.workspace, stream);
    const std::int64_t count = g.pixels() * s.in_channels;
    scatter_columns_kernel<<<blocks(count), kThreads, 0, stream>>>(
        dcolumns, g, p.dx + pixel * s.in_channels, count);
    HH_CHECK_LAUNCH(stream);
  }
}

template <class T>
void conv2d_backward_weight(const Conv2dBackwardWeight<T>& p, StreamHandle stream) {
  p.validate();
  const Conv2dShape& s = p.shape;
  if (s.images == 0) return;
  if (p.dbias != nullptr) {
    // Its partial sums are done with before the columns need the scratch memory.
    auto* const partials =
        reinterpret_cast<float*>(static_cast<char*>(p.workspace) + kGemmWorkspace);
    add_column_sums(p.dy, s.pixels(), s.out_channels, partials, p.dbias, stream);
  }
  if constexpr (std::is_same_v<T, float>) {
    if (by_cudnn<T>(ConvPass::kBackwardWeight, s)) {
      return cudnn_convolve(ConvPass::kBackwardWeight, s, p.x, p.dy, p.dweight,
                            static_cast<char*>(p.workspace) + kGemmWorkspace, stream);
    }
  }
  const auto product = [&](const Conv2dShape& g, std::int64_t pixel, const T* rows) {
    gemm(Gemm<T, float>{.a = p.dy + pixel * s.out_channels,
                        .a_transposed = true,
                        .b = rows,
                        .d = p.dweight,
                        .rows = s.out_channels,
                        .cols = Groups::inner(s),
                        .inner = g.pixels(),
                        .accumulate = true},
         p.workspace, stream);
  };
  if (s.is_linear()) return product(s, 0, p.x);
  for_each_group(p.x, s, p.workspace, stream, product);
}

#define HH_CONV2D_OF(T)                                                             \
  template std::size_t workspace_bytes(const Conv2dForward<T>&);                    \
  template std::size_t workspace_bytes(const Conv2dBackwardInput<T>&);              \
  template std::size_t workspace_bytes(const Conv2dBackwardWeight<T>&);             \
  template void conv2d_forward(const Conv2dForward<T>&, StreamHandle);              \
  template void conv2d_backward_input(const Conv2dBackwardInput<T>&, StreamHandle); \
  template void conv2d_backward_weight(const Conv2dBackwardWeight<T>&, StreamHandle);
HH_CONV2D_OF(float)
HH_CONV2D_OF(bf16)
HH_CONV2D_OF(f16)
#undef HH_CONV2D_OF

}  // namespace hh::gpu
