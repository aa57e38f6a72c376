#include <oneapi/dnnl/dnnl.h>

#include "bench/support/harness.h"
#include "kernels/attention/window_attention.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::normal;

/// The yardstick: the library's plain GEMM, square, at its best. Its rate is what the two matrix
/// products of the forward pass (five of the backward pass) could reach at most.
void report_gemm() {
  const int n = 1024;
  const auto a = normal(std::size_t(n) * n, 1), b = normal(std::size_t(n) * n, 2);
  std::vector<float> c(std::size_t(n) * n);
  bench::report("window_attention/yardstick/sgemm/1024",
                {.bytes = 12.0 * n * n, .flops = 2.0 * n * n * n}, bench::time([&] {
                  dnnl_sgemm('N', 'N', n, n, n, 1, a.data(), n, b.data(), n, 0, c.data(), n);
                }));
}

void report_shape(const WindowAttentionShape& s) {
  const auto rows = std::size_t(s.windows) * std::size_t(s.tokens);
  const auto n = rows * std::size_t(s.channels());
  const auto qkv = normal(3 * n, 1), dout = normal(n, 2);
  std::vector<float> out(n), lse(rows * std::size_t(s.heads)), dqkv(3 * n);
  const std::string shape = std::to_string(s.windows) + "x" + std::to_string(s.tokens) + "x" +
                            std::to_string(s.heads) + "x" + std::to_string(s.head_dim);
  // One matrix product: N*N*d multiplications and additions for every window and head.
  const double product = 2.0 * double(n) * s.tokens;

  WindowAttentionForward<float> forward{
      .qkv = qkv.data(), .out = out.data(), .lse = lse.data(), .shape = s};
  std::vector<char> workspace(cpu::workspace_bytes(forward) + 64);
  const auto aligned = [](std::vector<char>& v) {
    return reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(v.data()) + 63) / 64 * 64);
  };
  forward.workspace = aligned(workspace);
  bench::report("window_attention_forward/f32/" + shape,
                {.bytes = 16.0 * double(n), .flops = 2 * product},
                bench::time([&] { cpu::window_attention_forward(forward); }));

  WindowAttentionBackward<float> backward{.qkv = qkv.data(),
                                          .out = out.data(),
                                          .lse = lse.data(),
                                          .dout = dout.data(),
                                          .dqkv = dqkv.data(),
                                          .shape = s};
  std::vector<char> more(cpu::workspace_bytes(backward) + 64);
  backward.workspace = aligned(more);
  bench::report("window_attention_backward/f32/" + shape,
                {.bytes = 32.0 * double(n), .flops = 5 * product},
                bench::time([&] { cpu::window_attention_backward(backward); }));
}

}  // namespace

// Windows x tokens x heads x head width: the paper's levels at batch 2, its interaction attention
// at batch 8, and the micro preset's levels at batch 64.
HH_BENCHMARK(window_attention) {
  report_gemm();
  report_shape({.windows = 2 * 16, .tokens = 196, .heads = 4, .head_dim = 32});
  report_shape({.windows = 2 * 4, .tokens = 196, .heads = 8, .head_dim = 32});
  report_shape({.windows = 2, .tokens = 196, .heads = 16, .head_dim = 32});
  report_shape({.windows = 8, .tokens = 16, .heads = 8, .head_dim = 32});
  report_shape({.windows = 8, .tokens = 4, .heads = 8, .head_dim = 64});
  report_shape({.windows = 64 * 16, .tokens = 16, .heads = 1, .head_dim = 32});
  report_shape({.windows = 64 * 4, .tokens = 16, .heads = 2, .head_dim = 32});
  report_shape({.windows = 64, .tokens = 16, .heads = 4, .head_dim = 32});
  report_shape({.windows = 64, .tokens = 16, .heads = 8, .head_dim = 8});
}

}  // namespace hh
