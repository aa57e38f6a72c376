#include "bench/support/yardstick.h"

#include <cstring>
#include <map>

#include "bench/support/harness.h"
#include "kernels/core/parallel.h"
#include "kernels/linear/linear.h"

namespace hh::bench {
namespace {

template <class T>
double gemm_tflop_s(Device device) {
  const int n = 1024;
  const auto count = std::size_t(n) * n;
  const Tensor x = normal<T>(device, count, 1), w = normal<T>(device, count, 2),
               y = normal<T>(device, count, 3);
  LinearForward<T> args{
      .x = x.data<T>(), .weight = w.data<T>(), .y = y.data<T>(), .rows = n, .in = n, .out = n};
  Backend& on = backend(device);
  const Kernel<LinearForward<T>>& kernel = on.kernels().template of<LinearForward<T>>();
  Tensor workspace;
  const std::size_t bytes = kernel.workspace_bytes ? kernel.workspace_bytes(args) : 0;
  if (bytes != 0) workspace = Tensor({std::int64_t(bytes)}, DType::u8, device);
  if (bytes != 0) args.workspace = workspace.raw();
  const auto us = sample(device, 0.3, [&] {
    kernel.run(args, on.stream());
    on.synchronize();
  });
  return 2.0 * n * n * n / us[us.size() / 2] / 1e6;
}

}  // namespace

double copy_us(Device device, double bytes) {
  static std::map<std::pair<std::string, double>, double> known;
  double& us = known[{to_string(device), bytes}];
  if (us > 0) return us;
  const auto half = std::max(std::int64_t(bytes / 2), std::int64_t{1});
  const Tensor from = Tensor::zeros({half}, DType::u8, device);
  const Tensor to = Tensor::zeros({half}, DType::u8, device);
  const auto times = sample(device, 0.05, [&] {
    if (device == kCpu) {
      cpu::parallel_for(half, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
        std::memcpy(to.raw() + begin, from.raw() + begin, std::size_t(end - begin));
      });
    } else {
      to.copy_from(from);
      backend(device).synchronize();
    }
  });
  return us = times[times.size() / 2];
}

const Yardstick& yardstick(Device device, bool bf16_product) {
  static std::map<std::pair<std::string, bool>, Yardstick> known;
  const std::pair key(to_string(device), bf16_product);
  if (const auto found = known.find(key); found != known.end()) return found->second;
  const double bytes = 256.0 * (1 << 20);
  const double gemm = bf16_product ? gemm_tflop_s<bf16>(device) : gemm_tflop_s<float>(device);
  return known[key] = {bytes / copy_us(device, bytes) / 1e3, gemm};
}

}  // namespace hh::bench
