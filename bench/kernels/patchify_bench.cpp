// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/input/patchify.h"

namespace hh {
namespace {

template <class T>
void bench_shape(Device device, const char* type, const PatchShape& s) {
  const auto n = std::size_t(s.rows() * s.cols());
  const Tensor image = bench::normal<float>(device, n, 1), rows = bench::normal<T>(device, n, 2);
  std::vector<std::uint8_t> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = std::uint8_t(i * 101);
  const Tensor pixels =
      Tensor::from(std::span<const std::uint8_t>(values), {std::int64_t(n)}, device);
  const std::string shape = std::string("/") + type + "/" + std::to_string(s.images) + "x" +
                            std::to_string(s.size) + "p" + std::to_string(s.patch);
  bench::measure(
      "patchify_forward" + shape, device,
      PatchifyForward<T>{.image = image.data<float>(), .rows = rows.data<T>(), .shape = s});
  bench::measure(
      "patchify_backward" + shape, device,
      PatchifyBackward<T>{.drows = rows.data<T>(), .dimage = image.data<float>(), .shape = s});
  bench::measure(
      "patchify_pixels" + shape, device,
      PatchifyPixels<T>{.pixels = pixels.data<std::uint8_t>(), .rows = rows.data<T>(), .shape = s});
}

}  // namespace

// The micro preset at batch 64 and the paper's at batch 8.
HH_BENCHMARK(patchify) {
  for (const auto [b, size, patch] : bench::shapes<3>("BSP", {{64, 32, 2}}, {{8, 224, 4}})) {
    const PatchShape s{.images = b, .size = size, .patch = patch};
    bench::for_each_type(device,
                         [&]<class T>(T, const char* type) { bench_shape<T>(device, type, s); });
  }
}

}  // namespace hh
