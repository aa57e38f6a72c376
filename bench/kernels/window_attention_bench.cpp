#include <oneapi/dnnl/dnnl.h>

#include "bench/support/harness.h"
#include "kernels/attention/window_attention.h"

namespace hh {
namespace {

/// The yardstick: the library's plain GEMM, square, at its best. Its rate is what the two matrix
/// products of the forward pass (five of the backward pass) could reach at most.
void report_gemm(Device device) {
  const int n = 1024;
  const auto a = testing::normal(std::size_t(n) * n, 1), b = testing::normal(std::size_t(n) * n, 2);
  std::vector<float> c(std::size_t(n) * n);
  bench::report("window_attention/yardstick/sgemm/1024", device,
                {.bytes = 12.0 * n * n, .flops = 2.0 * n * n * n}, bench::time([&] {
                  dnnl_sgemm('N', 'N', n, n, n, 1, a.data(), n, b.data(), n, 0, c.data(), n);
                }));
}

template <class T>
void measure(Device device, const std::string& type, const WindowAttentionShape& s) {
  const auto rows = std::size_t(s.windows) * std::size_t(s.tokens);
  const auto n = rows * std::size_t(s.channels());
  const Tensor qkv = bench::normal<T>(device, 3 * n, 1), out = bench::normal<T>(device, n, 2),
               dout = bench::normal<T>(device, n, 3), dqkv = bench::normal<T>(device, 3 * n, 4),
               lse = bench::normal<float>(device, rows * std::size_t(s.heads), 5);
  const std::string shape = "/" + type + "/" + std::to_string(s.windows) + "x" +
                            std::to_string(s.tokens) + "x" + std::to_string(s.heads) + "x" +
                            std::to_string(s.head_dim);
  // One matrix product: N*N*d multiplications and additions for every window and head.
  const double product = 2.0 * double(n) * s.tokens, bytes = double(n) * sizeof(T);
  bench::measure(
      "window_attention_forward" + shape, device,
      WindowAttentionForward<T>{
          .qkv = qkv.data<T>(), .out = out.data<T>(), .lse = lse.data<float>(), .shape = s},
      {.bytes = 4 * bytes, .flops = 2 * product});
  bench::measure("window_attention_backward" + shape, device,
                 WindowAttentionBackward<T>{.qkv = qkv.data<T>(),
                                            .out = out.data<T>(),
                                            .lse = lse.data<float>(),
                                            .dout = dout.data<T>(),
                                            .dqkv = dqkv.data<T>(),
                                            .shape = s},
                 {.bytes = 8 * bytes, .flops = 5 * product});
}

}  // namespace

// Windows x tokens x heads x head width: the paper's levels at batch 2, its interaction attention
// at batch 8, and the micro preset's levels at batch 64.
HH_BENCHMARK(window_attention) {
  if (device == kCpu) report_gemm(device);
  const WindowAttentionShape shapes[] = {
      {.windows = 2 * 16, .tokens = 196, .heads = 4, .head_dim = 32},
      {.windows = 2 * 4, .tokens = 196, .heads = 8, .head_dim = 32},
      {.windows = 2, .tokens = 196, .heads = 16, .head_dim = 32},
      {.windows = 8, .tokens = 16, .heads = 8, .head_dim = 32},
      {.windows = 8, .tokens = 4, .heads = 8, .head_dim = 64},
      {.windows = 64 * 16, .tokens = 16, .heads = 1, .head_dim = 32},
      {.windows = 64 * 4, .tokens = 16, .heads = 2, .head_dim = 32},
      {.windows = 64, .tokens = 16, .heads = 4, .head_dim = 32},
      {.windows = 64, .tokens = 16, .heads = 8, .head_dim = 8}};
  for (const WindowAttentionShape& s : shapes) measure<float>(device, "f32", s);
  if (device == kCpu) {
    measure<bf16>(device, "bf16", shapes[0]);
    measure<bf16>(device, "bf16", shapes[5]);
    return;
  }
  for (const WindowAttentionShape& s : shapes) measure<bf16>(device, "bf16", s);
  // The last level at batch 32: with fewer windows a GPU divides the heads of one among blocks.
  measure<bf16>(device, "bf16", {.windows = 32, .tokens = 196, .heads = 16, .head_dim = 32});
}

}  // namespace hh
