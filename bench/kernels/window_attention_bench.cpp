// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/attention/window_attention.h"

namespace hh {
namespace {

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
  bench::measure(
      "window_attention_forward" + shape, device,
      WindowAttentionForward<T>{
          .qkv = qkv.data<T>(), .out = out.data<T>(), .lse = lse.data<float>(), .shape = s});
  bench::measure("window_attention_backward" + shape, device,
                 WindowAttentionBackward<T>{.qkv = qkv.data<T>(),
                                            .out = out.data<T>(),
                                            .lse = lse.data<float>(),
                                            .dout = dout.data<T>(),
                                            .dqkv = dqkv.data<T>(),
                                            .shape = s});
}

}  // namespace

// Windows x tokens x heads x head width: the paper's levels at batch 2, its interaction attention
// at batch 8, and the micro preset's levels at batch 64.
HH_BENCHMARK(window_attention) {
  const auto shapes = bench::shapes<4>(
      "BTHD", {{64 * 16, 16, 1, 32}, {64 * 4, 16, 2, 32}, {64, 16, 4, 32}, {64, 16, 8, 8}},
      {{2 * 16, 196, 4, 32},
       {2 * 4, 196, 8, 32},
       {2, 196, 16, 32},
       {8, 16, 8, 32},
       {8, 4, 8, 64},
       // The last level at batch 32: with fewer windows a GPU divides the heads of one among
       // blocks.
       {32, 196, 16, 32}});
  for (const auto [windows, tokens, heads, head_dim] : shapes) {
    const WindowAttentionShape s{
        .windows = windows, .tokens = tokens, .heads = heads, .head_dim = head_dim};
    measure<float>(device, "f32", s);
    measure<bf16>(device, "bf16", s);
  }
}

}  // namespace hh
